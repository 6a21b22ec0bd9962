"""The same promises with less of a kernel: without pidfds, and without the files that list a process's children."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from supervisor.core.jobs.model import Method, State
from supervisor.engine.containment import Level, Proof
from supervisor.guardian.handle import Handle
from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures
from supervisor.guardian.proc import descendants
from tests.support.attempts import guardian_pid
from tests.support.core import cancel, ended, running, says, scenario, submit, until
from tests.support.trees import DAEMONS, TREE, a_tree, named, there

LESS = [
    pytest.param(KernelFeatures(pidfd=False), id="no-pidfd"),
    pytest.param(KernelFeatures(children_files=False), id="no-children-files"),
    pytest.param(KernelFeatures(pidfd=False, children_files=False), id="neither"),
]


def test_this_machine_has_what_is_taken_away_here() -> None:
    assert KernelFeatures(pidfd=True, children_files=True) == AVAILABLE


@pytest.mark.parametrize("features", LESS)
@pytest.mark.parametrize("sent", [None, signal.SIGKILL, signal.SIGSTOP])
def test_a_tree_is_gone_within_the_budget(
    tmp_path: Path, features: KernelFeatures, sent: signal.Signals | None
) -> None:
    async def body() -> None:
        async with running(tmp_path, features=features, containment=Level.SUBREAPER) as supervisor:
            record = submit(supervisor, "shell", command=f"trap '' TERM; {TREE}")
            await says(record, "READY")
            await until(lambda: len(named(record, "sleep")) == DAEMONS)
            tree = a_tree(record)
            cancel(supervisor, record)
            if sent is not None:
                os.kill(guardian_pid(record), sent)
            await ended(record, 4)
            cancellation = record.job.cancellation
            assert cancellation is not None
            assert (record.job.state, cancellation.method, cancellation.within_budget) == (
                State.CANCELLED,
                Method.SIGKILL,
                True,
            )
            assert cancellation.proof is (Proof.ECHILD if sent is None else Proof.ADOPTED_REAPED)
            await until(lambda: there(tree) == set(), 0.5)

    scenario(body)


@pytest.mark.parametrize("features", LESS)
def test_a_guardian_that_dies_is_noticed(tmp_path: Path, features: KernelFeatures) -> None:
    async def body() -> None:
        async with running(tmp_path, features=features, containment=Level.SUBREAPER) as supervisor:
            record = submit(supervisor, "shell", command=TREE)
            await says(record, "READY")
            tree = a_tree(record)
            os.kill(guardian_pid(record), signal.SIGKILL)
            await ended(record, 2)
            assert record.job.error is not None
            assert record.job.error.kind == "guardian"
            assert there(tree) == set()

    scenario(body)


@pytest.mark.parametrize("use_pidfd", [True, False])
def test_a_handle_never_signals_a_process_that_reuses_its_pid(use_pidfd: bool) -> None:
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    real = Handle.open(child, use_pidfd=use_pidfd)
    stranger = Handle(child, real.start_ticks - 1, None)  # as it looks when the number has passed on
    try:
        assert (stranger.ended, stranger.kill()) == (True, False)
        assert not real.ended
        assert real.kill()
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert real.ended  # a zombie has ended
    finally:
        os.waitpid(child, 0)
        assert (real.ended, real.kill()) == (True, False)
        real.close()


def test_both_ways_find_the_same_tree(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            record = submit(supervisor, "shell", command=TREE)
            await says(record, "READY")
            await until(lambda: len(named(record, "sleep")) == DAEMONS)
            root = guardian_pid(record)
            fast, slow = (set(descendants(root, use_children_files=files)) for files in (True, False))
            assert fast == slow
            assert len(fast) > DAEMONS

    scenario(body)
