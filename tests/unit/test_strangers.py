"""Zombies that belong to no job and that nothing else waits for are reaped. Others keep their status."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from runner import posix
from supervisor.node.cleanup.strangers import LOOKS, Strangers

BOUND_MS = 10_000


def zombie(*, session: bool, name: str) -> int:
    """A child of this process that has ended and has not been waited for."""
    pid = os.fork()
    if pid == 0:
        if session:
            os.setsid()
        posix.set_name(name)
        os._exit(7)
    pidfd = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    assert poller.poll(BOUND_MS)
    os.close(pidfd)
    return pid


@contextmanager
def reaped_at_last(pid: int) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def is_there(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")  # noqa: PTH110


@pytest.mark.parametrize(
    ("session", "name", "is_init", "is_guardian", "reaped"),
    [
        pytest.param(True, "stranger", True, False, True, id="an orphan of another program, as pid 1"),
        pytest.param(True, "stranger", False, False, False, id="not as pid 1: our host may wait for it"),
        pytest.param(True, "deadstop-track", False, False, True, id="ours, whose guardian failed early"),
        pytest.param(False, "stranger", True, False, False, id="of our session: what we started and wait for"),
        pytest.param(True, "deadstop-guard", True, True, False, id="a guardian that the pool still knows"),
    ],
)
def test_which_zombies_are_reaped(*, session: bool, name: str, is_init: bool, is_guardian: bool, reaped: bool) -> None:
    pid = zombie(session=session, name=name)
    with reaped_at_last(pid):
        strangers = Strangers(lambda known: known != pid or is_guardian, is_init=is_init)
        assert strangers.reap() == int(reaped)
        assert is_there(pid) is not reaped


@pytest.mark.parametrize(("is_init", "is_ours", "reaped"), [(True, False, 1), (True, True, 0), (False, False, 0)])
def test_a_zombie_of_our_session_is_given_time(*, is_init: bool, is_ours: bool, reaped: int) -> None:
    """It may be a program that this process waits for, or an orphan of one in the same session."""
    pid = zombie(session=False, name="stranger")
    with reaped_at_last(pid):
        strangers = Strangers(lambda known: known != pid or is_ours, is_init=is_init)
        assert [strangers.reap() for _ in range(LOOKS)] == [0] * (LOOKS - 1) + [reaped]


def test_what_lives_is_left_alone_and_a_status_that_is_waited_for_arrives() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as alive:
        pid = zombie(session=True, name="stranger")
        with reaped_at_last(pid):
            Strangers(lambda _pid: False, is_init=True).reap()
            assert not is_there(pid)
            assert alive.poll() is None
        alive.communicate(b"\n", timeout=10)
    assert alive.returncode == 0


def test_nothing_to_reap_costs_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "waitid", lambda *_: None)
    monkeypatch.setattr("supervisor.node.cleanup.strangers.children", lambda *_, **__: pytest.fail("read /proc"))
    assert Strangers(lambda _pid: False, is_init=True).reap() == 0
