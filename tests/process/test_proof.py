"""Names that a job can change prove nothing, and no part of a kill blocks another part."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from runner import posix
from supervisor.guardian import procfs
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.cgroup_files import CgroupFiles
from supervisor.guardian.handle import Handle, Identity
from supervisor.guardian.proc import children, descendants, read_stat
from supervisor.guardian.sweep import Sweep
from supervisor.node.cleanup.backstop import Backstop
from supervisor.node.cleanup.kill_round import Round, SweepTarget

FAILED = [errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENOMEM, errno.EINVAL]


@pytest.fixture
def backstop() -> Iterator[Backstop]:
    backstop = Backstop({})
    yield backstop
    backstop.close()


@contextmanager
def a_guardian(script: str = "sleep 60 & echo $!; exec sleep 60") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process in a session of its own, and the pid of what it has started in another one."""
    started = ["setsid", "sh", "-c", script]
    with subprocess.Popen(started, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


@contextmanager
def an_orphan() -> Iterator[tuple[Handle, Handle]]:
    """A dead guardian, and what has come from it to this process."""
    with a_guardian("setsid sh -c 'echo $$; exec sleep 60' & read _") as (process, pid), ExitStack() as stack:
        handles = Handle.open(process.pid), Handle.open(pid)
        for handle in handles:
            stack.callback(handle.close)
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        yield handles
        handles[1].kill()
        if pid in children(os.getpid()):
            os.waitpid(pid, 0)


class Broken(CgroupFiles):
    def __init__(self, number: int) -> None:
        super().__init__("/nonexistent")
        self.number: int | None = number

    def read(self, name: str) -> str:
        if self.number is None:
            return "populated 0\n" if name == "cgroup.events" else ""
        raise OSError(self.number, os.strerror(self.number))

    def write(self, name: str, text: str) -> None:
        if self.number is not None:
            raise OSError(self.number, os.strerror(self.number))


def broken_leaf(number: int) -> tuple[AttemptCgroup, Broken]:
    leaf = AttemptCgroup("/nonexistent")
    files = Broken(number)
    object.__setattr__(leaf, "_files", files)
    return leaf, files


def until_done(backstop: Backstop, held: SweepTarget) -> Round:
    """Run rounds until nothing is left, at most fifty. Each waits for the process that it has killed."""
    for _ in range(50):
        found = backstop.kill_once([held])[0]
        if found.done:
            break
    return found


# --- parts that fail


@pytest.mark.parametrize("number", FAILED)
def test_processes_are_signalled_although_their_cgroup_cannot_be_used(backstop: Backstop, number: int) -> None:
    leaf, files = broken_leaf(number)
    with a_guardian() as (process, pid), ExitStack() as stack:
        guardian, child = Handle.open(process.pid), Handle.open(pid)
        for handle in (guardian, child):
            stack.callback(handle.close)
        found = backstop.kill_once([SweepTarget(guardian, leaf)])[0]
        assert pid in found.seen
        process.wait(5)
        while not until_done(backstop, SweepTarget(guardian)).done:
            assert not child.ended
        assert child.ended
        assert not backstop.kill_once([SweepTarget(guardian, leaf)])[0].done, "unreadable is not empty"
        files.number = None
        assert backstop.kill_once([SweepTarget(guardian, leaf)])[0].done


@pytest.mark.parametrize("number", FAILED)
def test_a_guardian_s_sweep_signals_without_its_cgroup(number: int) -> None:
    leaf, files = broken_leaf(number)
    with a_guardian() as (process, _):
        others = frozenset(descendants(os.getpid())) - {process.pid, *descendants(process.pid)}
        sweep = Sweep(os.getpid(), leaf, leave_out=others)
        assert process.pid in sweep.kill()
        assert "cgroup.kill" in sweep.errors.failed
        assert process.wait(5) == -signal.SIGKILL
        assert leaf.populated
        files.number = None
        assert not leaf.populated


def test_a_round_without_a_descriptor_ends_what_was_adopted(
    backstop: Backstop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after prlimit(2) by a job of the same user, hard limit and all: nothing can be opened any more."""
    monkeypatch.setattr(posix, "restore_open_files_limit", lambda _: False)
    with an_orphan() as (guardian, orphan):
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            survivors = backstop._killing.survivors(SweepTarget(guardian))
            found = until_done(backstop, SweepTarget(guardian))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert orphan.pid in [survivor.pid for survivor in survivors]
        assert found.done
        assert orphan.ended


def test_a_limit_of_descriptors_that_was_lowered_is_set_back(backstop: Backstop) -> None:
    with an_orphan() as (guardian, orphan):
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            assert until_done(backstop, SweepTarget(guardian)).done
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert orphan.ended


def test_the_backstop_starts_no_thread_when_it_is_needed(backstop: Backstop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert backstop._thread.submit(int).result() == 0


# --- names that lie


@pytest.mark.parametrize("lie", ["empty", "another", "unreadable"])
def test_no_proof_is_read_from_a_proc_that_does_not_show_us(
    backstop: Backstop, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    with an_orphan() as (guardian, orphan):
        own = backstop._adopted._own
        with monkeypatch.context() as lying:
            if lie == "empty":
                lying.setattr(own, "children", list)
            elif lie == "another":
                lying.setattr(own, "is_seen", lambda: False)
                lying.setattr(own, "children", list)
            else:
                lying.setattr(procfs, "read_again", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "")))
            assert not backstop.kill_once([SweepTarget(guardian)])[0].done
            assert not orphan.ended
        assert until_done(backstop, SweepTarget(guardian)).done  # the control
        assert orphan.ended


@pytest.mark.parametrize("reused", [True, False])
def test_a_process_that_reuses_a_dead_guardian_s_pid_is_not_taken_for_it(reused: bool) -> None:
    with an_orphan() as (guardian, orphan):
        known = Identity(orphan.pid, orphan.start_ticks - reused)
        backstop = Backstop({known: guardian})
        assert until_done(backstop, SweepTarget(guardian)).done
        assert orphan.ended is reused
        backstop.close()


def test_the_pid_of_a_stat_is_the_one_that_was_asked_for() -> None:
    stat = read_stat(os.getpid())
    assert stat is not None
    assert stat.pid == os.getpid()
