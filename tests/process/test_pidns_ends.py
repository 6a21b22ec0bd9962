"""Level pidns: how a job ends in its namespace, and what its end proves, seen from the host."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from supervisor.core.jobs.model import State
from supervisor.engine.containment import Proof
from tests.support.attempts import guardian_pid, root_pid
from tests.support.core import cancel, ended, running, says, scenario, submit
from tests.support.namespaces import check_cancelled, told, watched
from tests.support.observer import Watched


def test_a_cancel_ends_everything_and_says_so(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, containment="pidns") as supervisor:
            record = submit(supervisor, "shell", command=DAEMONS + "wait")
            await says(record, "READY")
            with watched(record) as tree:
                assert len(tree.handles) >= 7
                await check_cancelled(supervisor, record)
                assert not [handle for handle in tree.left() if handle.name != "deadstop-guard"]

    scenario(body)


def test_what_a_finished_task_left_gets_a_sigterm_first_and_its_result_stands(tmp_path: Path) -> None:
    polite = tmp_path / "polite"
    command = f"(setsid sh -c 'trap \"echo bye >{polite}; exit\" TERM; echo READY; sleep 60 & wait' &) ; {DAEMONS}"

    async def body() -> None:
        async with running(tmp_path / "state", containment="pidns") as supervisor:
            fifo = tmp_path / "go"
            os.mkfifo(fifo)
            record = submit(supervisor, "shell", command=f"{command} read line <{fifo}; exit 0")
            await says(record, "READY\r\nREADY")
            with watched(record) as tree, told(fifo, "go"):
                await ended(record, 3)
                assert (record.job.state, record.job.result) == (State.SUCCEEDED, {"exit_code": 0})
                assert record.job.leftovers >= 4
                assert polite.read_text() == "bye\n"
                assert not [handle for handle in tree.left() if handle.name != "deadstop-guard"]

    scenario(body)


@pytest.mark.parametrize(
    ("ending", "kind", "detail"),
    [("kill -9 $PPID; sleep 60", "signalled", "SIGKILL"), ("kill -SEGV $PPID; sleep 60", "signalled", "SIGSEGV")],
)
def test_how_the_runner_ended_is_reported(tmp_path: Path, ending: str, kind: str, detail: str) -> None:
    async def body() -> None:
        async with running(tmp_path, containment="pidns") as supervisor:
            record = await ended(submit(supervisor, "shell", command=ending, terminal=False))
            assert record.job.error is not None
            assert (record.job.error.kind, record.job.error.signal) == (kind, detail)

    scenario(body)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("whom", ["init", "guardian"])
def test_a_cancel_is_proven_without_the_init_or_the_guardian(tmp_path: Path, whom: str, sent: signal.Signals) -> None:
    """The processes are signalled from the host. The fault may come before the cancel or after it."""

    async def body() -> None:
        async with running(tmp_path, containment="pidns") as supervisor:
            record = submit(supervisor, "shell", command=DAEMONS + "wait")
            await says(record, "READY")
            pid = root_pid(record) if whom == "init" else guardian_pid(record)
            assert pid is not None
            with watched(record) as tree, Watched([pid]) as target:
                cancel(supervisor, record)
                signal.pidfd_send_signal(target.handles[0].pidfd, sent)
                await ended(record, 3)
                assert record.job.state is State.CANCELLED
                assert record.job.cancellation is not None
                assert record.job.cancellation.within_budget is True
                expected = Proof.PIDNS_GONE if whom == "init" else Proof.ADOPTED_REAPED
                assert record.job.cancellation.proof is expected
                assert not [handle for handle in tree.left() if handle.name != "deadstop-guard"]

    scenario(body)


def test_an_init_that_is_killed_from_outside_takes_all_along(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, containment="pidns") as supervisor:
            record = submit(supervisor, "shell", command=DAEMONS + "wait")
            await says(record, "READY")
            assert root_pid(record)
            with watched(record) as tree:
                os.kill(root_pid(record), signal.SIGKILL)
                await ended(record, 3)
                assert not [handle for handle in tree.left() if handle.name != "deadstop-guard"]
            assert record.job.error is not None
            assert (record.job.error.kind, record.job.error.signal) == ("signalled", "SIGKILL")

    scenario(body)


DAEMONS = "setsid sleep 60 & (setsid sh -c 'trap \"\" TERM; sleep 60 & sleep 60' &) ; echo READY; "
