"""When the guardian is killed, is stopped or cannot be started, the supervisor ends the job's processes itself."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

import pytest

from supervisor.core.jobs.model import Method, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.supervisor import Supervisor
from supervisor.engine.containment import Level, Proof
from supervisor.guardian import resource_tracker as tracker
from supervisor.guardian.proc import children, descendants, read_stat
from supervisor.node.workers.server_forkserver import pid as forkserver_pid
from tests.support.attempts import guardian_pid, node_of
from tests.support.core import cancel, ended, running, says, scenario, submit, until
from tests.support.level_cases import LEVELS
from tests.support.levels import PROOFS
from tests.support.observer import Watched
from tests.support.trees import DAEMONS, TREE, a_tree, alive, named, there

DAEMON = "(setsid sleep 60 &)"


@pytest.mark.parametrize("level", LEVELS)
def test_a_killed_guardian_fails_its_job_and_leaves_nothing(tmp_path: Path, level: Level) -> None:
    async def body() -> None:
        async with running(tmp_path, containment=level) as supervisor:
            record = submit(supervisor, "shell", command=TREE)
            await says(record, "READY")
            await until(lambda: len(named(record, "sleep")) == DAEMONS)
            tree = a_tree(record)
            with Watched([guardian_pid(record)]) as guardian:
                os.kill(guardian_pid(record), signal.SIGKILL)
                assert select.select([guardian.handles[0].pidfd], [], [], 1)[0]
            # The control: without a turn of the loop there is no backstop yet, and daemons do not die with a guardian,
            # except with the init of their namespace.
            assert level is Level.PIDNS or len(alive(tree)) >= DAEMONS
            await ended(record, 3)
            assert there(tree) == set()
            check_failed_of_its_guardian(supervisor, record)

    scenario(body)


def test_a_job_that_kills_its_guardian_only_ends_itself(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            bystander = submit(supervisor, "shell", command=TREE)
            await says(bystander, "READY")
            # The shell's parent is the runner, and the runner's is the guardian: field 4, behind the name.
            murder = "read -r _ _ _ guardian _ </proc/$PPID/stat; echo $guardian >mark; kill -9 $guardian"
            record = submit(supervisor, "shell", command=f"{DAEMON}; echo READY; {murder}; sleep 60")
            await ended(record, 5)
            check_failed_of_its_guardian(supervisor, record)
            assert bystander.job.state is State.RUNNING
            assert alive(a_tree(bystander)) == a_tree(bystander)

    scenario(body)


def check_failed_of_its_guardian(supervisor: Supervisor, record: LiveJob) -> None:
    assert record.job.state is State.FAILED
    assert record.job.error is not None
    assert record.job.error.kind == "guardian"
    assert not node_of(supervisor).state_dir.workspaces.path(record.job.id).exists()


def test_a_stopped_guardian_does_not_hold_up_a_job_that_ends_by_itself(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, cancel_budget_s=0.5) as supervisor:
            record = submit(supervisor, "shell", command=f"{DAEMON}; echo READY; exec sleep 60")
            await says(record, "READY")
            tree = a_tree(record)
            os.kill(guardian_pid(record), signal.SIGSTOP)
            (runner,) = named(record, "deadstop-runner")
            (shell,) = children(runner)
            os.kill(shell, signal.SIGKILL)  # its own end, as far as the job is concerned
            await ended(record, 2)
            assert there(tree) == set()
            assert record.job.state is State.FAILED
            assert record.job.error is not None
            assert record.job.error.kind == "signalled"  # the task's report is kept

    scenario(body)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sent", [signal.SIGSTOP, signal.SIGKILL])
def test_a_cancel_is_proven_without_the_guardian(tmp_path: Path, sent: signal.Signals, level: Level) -> None:
    async def body() -> None:
        async with running(tmp_path, containment=level) as supervisor:
            record = submit(supervisor, "shell", command=TREE)
            await says(record, "READY")
            tree = a_tree(record)
            cancel(supervisor, record)
            os.kill(guardian_pid(record), sent)
            await ended(record, 3)
            assert alive(tree) == set()
            assert record.job.state is State.CANCELLED
            assert record.job.cancellation is not None
            assert record.job.cancellation.proof in (Proof.ADOPTED_REAPED, PROOFS[level])
            assert there(tree) == set()
            if sent is signal.SIGSTOP:
                assert record.job.cancellation.proof is Proof.ADOPTED_REAPED
                assert record.job.cancellation.method is Method.SIGKILL
            assert record.job.cancellation.within_budget is True

    scenario(body)


def test_a_stopped_forkserver_is_replaced_and_cancel_does_not_wait_for_it(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, warm=0) as supervisor:
            stopped = forkserver_pid()
            assert stopped is not None
            os.kill(stopped, signal.SIGSTOP)
            first, second = (submit(supervisor, "shell", command="echo done") for _ in range(2))
            cancel(supervisor, first)
            await ended(first, 0.5)
            assert first.job.cancellation is not None
            assert first.job.cancellation.proof is Proof.NEVER_STARTED
            await ended(second, 10)
            assert second.job.state is State.SUCCEEDED
            assert forkserver_pid() != stopped

    scenario(body)


@pytest.mark.parametrize("level", LEVELS)
def test_a_killed_forkserver_takes_nothing_with_it(tmp_path: Path, level: Level) -> None:
    async def body() -> None:
        async with running(tmp_path, containment=level) as supervisor:
            record = submit(supervisor, "shell", command=TREE)
            await says(record, "READY")
            tree = a_tree(record)
            os.kill(forkserver_pid() or 0, signal.SIGKILL)
            again = submit(supervisor, "shell", command="echo done")
            await ended(again)
            assert again.job.state is State.SUCCEEDED
            assert alive(tree) == tree
            cancel(supervisor, record)
            await ended(record, 3)
            assert record.job.cancellation is not None
            assert record.job.cancellation.proof == PROOFS[level]
            # The guardian itself ends right after its report, and only the supervisor is left to reap it.
            await until(lambda: there(tree) == set(), 0.5)

    scenario(body)


@pytest.mark.parametrize(("whom", "sent"), [("guardian", signal.SIGKILL), ("runner", signal.SIGSTOP)])
def test_an_idle_worker_with_a_dead_or_stopped_process_gets_no_job(
    tmp_path: Path, whom: str, sent: signal.Signals
) -> None:
    async def body() -> None:
        async with running(tmp_path, warm=2) as supervisor:
            await until(lambda: node_of(supervisor).pool.ready == 2)
            for idle in node_of(supervisor).pool._ready:
                handle = idle.guardian if whom == "guardian" else idle.runner
                handle.send(sent)
                # Wait without yielding to the event loop, so that it has not noticed yet.
                while not handle.ended and not handle.stopped:
                    time.sleep(0.001)
            assert node_of(supervisor).pool.ready == 2
            record = await ended(submit(supervisor, "shell", command="true"), 5)
            assert record.job.state is State.SUCCEEDED

    scenario(body)


def test_what_an_idle_guardian_leaves_is_ended_and_reaped(tmp_path: Path) -> None:
    """Without a job there is no backstop: the runner would stay a zombie, and a stopped tracker would stay for ever."""

    async def body() -> None:
        async with running(tmp_path, warm=1) as supervisor:
            await until(lambda: node_of(supervisor).pool.ready == 1)
            guardian = node_of(supervisor).pool._ready[0].guardian
            stats = [read_stat(pid) for pid in (guardian.pid, *descendants(guardian.pid))]
            tree = {(stat.pid, stat.start_ticks) for stat in stats if stat is not None}
            (hurt,) = [stat.pid for stat in stats if stat is not None and stat.name == tracker.NAME]
            os.kill(hurt, signal.SIGSTOP)
            guardian.kill()
            await until(lambda: there(tree) == set(), 2)
            await until(lambda: node_of(supervisor).pool.ready == 1)

    scenario(body)


def test_an_idle_guardian_that_dies_is_replaced(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, warm=1) as supervisor:
            pool = node_of(supervisor).pool
            await until(lambda: pool.ready == 1)
            idle = pool._ready[0].guardian.identity
            os.kill(idle.pid, signal.SIGKILL)
            await until(lambda: pool.ready == 1 and idle not in pool.guardians)
            record = await ended(submit(supervisor, "shell", command="true"))
            assert record.job.state is State.SUCCEEDED

    scenario(body)
