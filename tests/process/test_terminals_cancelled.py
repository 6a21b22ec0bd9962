"""Effects of a cancel, or of the end of its block, on a command in a terminal or on pipes."""

from __future__ import annotations

import os
import threading

import pytest

from runner.cancellation import Cancellation
from runner.errors import JobCancelled
from runner.terminal.exit_status import ExitStatus
from tests.support.terminals import BOUND_S, Shown, start


def ask_soon(cancellation: Cancellation) -> threading.Thread:
    """Ask from another thread, as the watch does, once this one surely waits."""
    thread = threading.Timer(0.1, cancellation.request)
    thread.start()
    return thread


def test_on_cancel_a_trap_runs_and_is_heard(cancellation: Cancellation, pty: bool) -> None:
    shown = Shown()
    command = "trap 'sleep 0.6; echo UNLOCKED; exit 0' TERM; echo READY; while :; do sleep 0.02; done"
    with start(cancellation, command, pty=pty, show=shown) as terminal:
        terminal.wait_for("READY", BOUND_S)
        asking = ask_soon(cancellation)
        with pytest.raises(JobCancelled):
            terminal.run()
    asking.join()
    assert "UNLOCKED" in shown.text
    assert terminal.status == ExitStatus(0)


@pytest.mark.parametrize("act", ["read", "wait_for", "write", "wait"])
def test_whatever_waits_is_woken_by_the_ask(cancellation: Cancellation, act: str) -> None:
    acts = {
        "read": lambda terminal: terminal.read(),
        "wait_for": lambda terminal: terminal.wait_for("never"),
        "write": lambda terminal: terminal.write(b"x" * 1_000_000),
        "wait": lambda terminal: terminal.wait(),
    }
    with start(cancellation, "stty raw -echo; printf R; exec sleep 60", pty=True) as terminal:
        terminal.wait_for("R")
        asking = ask_soon(cancellation)
        with pytest.raises(JobCancelled):
            acts[act](terminal)
    asking.join()
    assert terminal.status == ExitStatus(None, "SIGTERM")


def test_an_interactive_shell_goes_by_hangup_when_its_block_ends(cancellation: Cancellation) -> None:
    with start(cancellation, ["bash", "--norc", "--noprofile", "-i"]) as terminal:
        terminal.write("echo RE''ADY\n")
        terminal.wait_for("READY", BOUND_S)
    assert terminal.status == ExitStatus(None, "SIGHUP")


def test_all_are_asked_at_once_whatever_the_task_does(cancellation: Cancellation) -> None:
    terminals = [start(cancellation, ["sleep", "60"]) for _ in range(5)]
    cancellation.request()  # none of them is being read
    try:
        for terminal in terminals:
            assert terminal._io.process.exit_fd is not None
            assert os.waitid(os.P_PIDFD, terminal._io.process.exit_fd, os.WEXITED | os.WNOWAIT) is not None
    finally:
        for terminal in terminals:
            terminal.close()


def test_what_is_started_while_cleaning_up_is_not_asked(cancellation: Cancellation) -> None:
    cancellation.request()
    cancellation.notice()
    with start(cancellation, "sleep 0.1; echo cleaned") as terminal:
        terminal.wait_for("cleaned", BOUND_S)
        assert terminal.wait(BOUND_S).ok


def test_a_block_that_ends_early_ends_its_command(cancellation: Cancellation, pty: bool) -> None:
    with start(cancellation, "trap '' TERM HUP; echo READY; while :; do sleep 0.02; done", pty=pty) as terminal:
        terminal.wait_for("READY", BOUND_S)
    assert terminal.status == ExitStatus(None, "SIGKILL")
