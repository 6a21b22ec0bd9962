"""Resource trackers that a job stops or kills: nothing waits for them, and the next start finds a working one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.supervisor import Supervisor
from supervisor.guardian import resource_tracker as tracker
from supervisor.guardian.proc import children, read_stat
from supervisor.node.workers import server_tracker as trackers
from tests.support.attempts import guardian_pid
from tests.support.core import cancel, ended, running, says, scenario, submit, until
from tests.support.pools import at_rest, pool_of, served
from tests.support.trees import TREE, a_tree, there

SIGNALS = [signal.SIGSTOP, signal.SIGKILL]
SHM = Path("/dev/shm")


@pytest.fixture(autouse=True)
def _continued() -> Iterator[None]:
    yield
    pid = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    if pid is not None:
        os.kill(pid, signal.SIGCONT)  # a failing test must not block the end of the run


def tracker_or_none() -> int | None:
    pid: int | None = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    return pid


def server_tracker() -> int:
    pid = tracker_or_none()
    assert pid is not None
    return pid


def job_tracker(record: LiveJob) -> int:
    guardian = guardian_pid(record)
    (found,) = [pid for pid in children(guardian) if (stat := read_stat(pid)) is not None and stat.name == tracker.NAME]
    return found


async def a_proven_cancel(supervisor: Supervisor, record: LiveJob) -> None:
    tree = a_tree(record)
    cancel(supervisor, record)
    await ended(record, 3)
    assert record.job.cancellation is not None
    assert (record.job.state, record.job.cancellation.within_budget) == (State.CANCELLED, True)
    await until(lambda: there(tree) == set(), 1)


@pytest.mark.parametrize("sent", SIGNALS)
def test_the_server_s_tracker(tmp_path: Path, sent: signal.Signals) -> None:
    async def body() -> None:
        async with running(tmp_path, warm=0) as supervisor:
            before = submit(supervisor, "shell", command=TREE)
            await says(before, "READY")
            hurt = server_tracker()
            os.kill(hurt, sent)
            await until(lambda: (stat := read_stat(hurt)) is not None and stat.state in "TZ")
            await a_proven_cancel(supervisor, before)
            after = submit(supervisor, "shell", command=TREE)
            await says(after, "READY")
            now = read_stat(server_tracker())
            assert now is not None
            assert now.state not in "TZ"
            assert (now.pid == hurt) is (sent is signal.SIGSTOP)
            await a_proven_cancel(supervisor, after)

    scenario(body)


def test_a_tracker_that_replaces_a_killed_one_knows_none_of_the_servers_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of the same user could kill the tracker, so that a new one starts whose environment the job can read."""

    async def body() -> None:
        async with running(tmp_path, warm=0) as supervisor:
            record = submit(supervisor, "shell", command=TREE)
            await says(record, "READY")
            monkeypatch.setenv("SECRET_OF_THE_SERVER", "s3cret")
            killed = server_tracker()
            os.kill(killed, signal.SIGKILL)
            # Its set is put away, and with that a semaphore is given back: nothing is started for another job.
            await a_proven_cancel(supervisor, record)
            await until(lambda: tracker_or_none() not in {None, killed})
            found = Path(f"/proc/{server_tracker()}")
            await until(lambda: b"resource_tracker" in (found / "cmdline").read_bytes())
            variables = (found / "environ").read_bytes()
            assert b"PATH=" in variables
            assert b"SECRET_OF_THE_SERVER" not in variables
            # Of what its predecessor knew and it does not it would complain, with a traceback for each.
            assert (found / "fd" / "2").readlink() == Path("/dev/null")

    scenario(body)


@pytest.mark.parametrize("sent", SIGNALS)
def test_a_job_s_own_tracker(tmp_path: Path, sent: signal.Signals) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            cancelled = submit(supervisor, "shell", command=TREE)
            ends = submit(supervisor, "shell", command="echo READY; read _ </dev/zero & sleep 0.2")
            for record in (cancelled, ends):
                await says(record, "READY")
                os.kill(job_tracker(record), sent)
            await a_proven_cancel(supervisor, cancelled)
            await ended(ends, 3)
            assert ends.job.state is State.SUCCEEDED

    scenario(body)


def test_a_start_that_waits_for_room_in_the_pipe_of_a_stopped_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was stopped just after it had been looked at. Past its bounds the start is freed by the tracker's end."""

    def not_looked_at(_environment: dict[str, str]) -> None:
        monkeypatch.undo()

    async def body() -> None:
        async with pool_of() as pool:
            pool.retire(await served(pool))
            await at_rest(pool)
            stopped = server_tracker()
            os.kill(stopped, signal.SIGSTOP)
            await until(lambda: (stat := read_stat(stopped)) is not None and stat.state == "T")
            pipe = resource_tracker._resource_tracker._fd  # type: ignore[attr-defined]
            os.set_blocking(pipe, False)
            with suppress(BlockingIOError):
                while True:
                    os.write(pipe, b"PROBE:0:noop\n")
            os.set_blocking(pipe, True)
            monkeypatch.setattr(trackers, "mend", not_looked_at)
            pool.retire(await served(pool))
            assert server_tracker() != stopped
            assert (pool.thread.trouble, pool.thread.replaced) == (None, 0)

    scenario(body)
