"""Which job a process belongs to where orphans are not adopted: by earlier samples, by its session, by its mark."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from supervisor.guardian.handle import Handle, Identity
from supervisor.guardian.membership import KnownProcesses

LIFETIME = "sleep 30"
MARK = {"DEADSTOP_COOKIE": secrets.token_hex(16), "DEADSTOP_JOB_ID": "mine"}


@contextmanager
def shell(script: str, env: dict[str, str] | None = None, *, new_session: bool = True) -> Iterator[tuple[int, int]]:
    """A shell, and the process that it says it has started. Both are ended with the block."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", script],
        env={"PATH": os.environ["PATH"], **(env or {})},
        stdout=subprocess.PIPE,
        start_new_session=new_session,
    )
    assert process.stdout is not None
    try:
        told = int(process.stdout.readline())
        yield process.pid, told
    finally:
        process.stdout.close()
        process.kill()
        process.wait()
        Identity.of(told).send(signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(told, 0)  # the orphan was reparented to the test run, which is a subreaper


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process without children that is not the guardian of any job."""
    with shell("echo $$; exec sleep 30") as (pid, _):
        yield pid


def pids(found: list[Identity]) -> set[int]:
    return {one.pid for one in found}


def test_what_was_seen_below_is_known_when_its_parent_is_gone(stranger: int) -> None:
    with shell(f"setsid sh -c 'echo $$; exec {LIFETIME}' & wait") as (runner, daemon):
        known_processes = KnownProcesses(stranger, Identity.of(runner))
        known_processes.look()
        os.kill(runner, signal.SIGKILL)
        os.waitid(os.P_PID, runner, os.WEXITED | os.WNOWAIT)
        assert pids(known_processes.search()) == {daemon}
        # The control: without an earlier look, the daemon is not known.
        assert pids(KnownProcesses(stranger, Identity.of(runner)).search()) == set()


def test_a_session_is_the_jobs_as_long_as_it_lasts(stranger: int) -> None:
    with shell(f"({LIFETIME} & echo $!) ; exec sleep 30") as (runner, orphan):
        known_processes = KnownProcesses(stranger, Identity.of(runner))
        assert pids(known_processes.search()) >= {runner, orphan}  # and the subshell, until it has ended


def test_what_is_over_is_forgotten(stranger: int) -> None:
    """A job may run for days and start a session every second."""
    with shell(f"echo $$; exec {LIFETIME}") as (runner, _):
        known_processes = KnownProcesses(stranger, Identity.of(runner))
        known_processes._known |= {Identity(runner, ticks) for ticks in range(1000)}
        known_processes._sessions |= set(range(5_000_000, 5_001_000))  # no kernel gives such numbers
        known_processes.look()
        assert (len(known_processes._known), len(known_processes._sessions)) == (1, 2)
        assert pids(known_processes.search()) == {runner}


def test_a_session_number_that_was_reused_is_forgotten(stranger: int) -> None:
    real = Identity.of(stranger)
    earlier = Identity(real.pid, real.start_ticks - 1)  # as it looks when the number has passed on
    with shell("echo $$; exec sleep 30") as (guardian, _):
        assert KnownProcesses(guardian, earlier).search() == []
        assert not earlier.send(signal.SIGKILL)
        assert pids(KnownProcesses(guardian, real).search()) == {stranger}


@pytest.mark.parametrize(("job_id", "found"), [("mine", True), ("mines", False), ("", False)])
def test_a_mark_tells_one_job_from_another(stranger: int, job_id: str, found: bool) -> None:
    with ExitStack() as stack:
        runner, _ = stack.enter_context(shell("echo $$; exec sleep 30"))
        marked, below = stack.enter_context(shell(f"{LIFETIME} & echo $!; wait", MARK | {"DEADSTOP_JOB_ID": job_id}))
        known_processes = KnownProcesses(stranger, Identity.of(runner), mark=MARK)
        assert pids(known_processes.search()) == ({runner, marked, below} if found else {runner})
        known_processes.mark = {}
        if not found:
            assert pids(known_processes.search()) == {runner}


def test_a_process_of_another_user_is_left_and_nothing_is_raised() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    child = os.fork()
    if child == 0:
        os.setresuid(65534, 65534, 65534)
        # SIGURG is ignored by default, in case this process is ever signalled.
        answers = {
            Handle.open(os.getppid(), use_pidfd=use_pidfd).send(signal.SIGURG) for use_pidfd in (True, False)
        } | {Identity.of(os.getppid()).send(signal.SIGURG)}
        os._exit(0 if answers == {False} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
