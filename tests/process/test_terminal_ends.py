"""The end of a command is the end of its output, and what it leaves in the background lives until it is closed."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.cancellation import Cancellation
from runner.terminal import io_loop
from runner.terminal.terminal import Terminal
from tests.support.terminals import BOUND_S, Shown, start

MODES = pytest.mark.parametrize(
    "how", [{"pty": True}, {"pty": True, "open_stdin": False}, {"pty": False}], ids=["typed", "terminal", "pipes"]
)
SLOW = "sleep 0.05; cat"
"""A command that still writes for a while after the shell has ended."""


@MODES
def test_the_end_of_a_command_is_the_end_of_its_output(
    cancellation: Cancellation, tmp_path: Path, how: dict[str, Any]
) -> None:
    log = tmp_path / "build.log"
    shown = Shown()
    with start(
        cancellation, f"exec > >({SLOW} | tee {log}) 2>&1; echo FIRST; echo LAST", show=shown, **how
    ) as terminal:
        assert terminal.wait(BOUND_S).ok
        terminal.close()  # also what has closed its output and not quite ended
    assert shown.text.split() == log.read_text().split() == ["FIRST", "LAST"]


@MODES
def test_the_control_without_waiting_it_is_lost(
    cancellation: Cancellation, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    monkeypatch.setattr(io_loop, "LINGER_S", 0.0)
    shown = Shown()
    with start(cancellation, f"exec > >({SLOW}); echo LAST", show=shown, **how) as terminal:
        assert terminal.wait(BOUND_S).ok
        assert "LAST" not in shown.text
        terminal.close()


@MODES
def test_a_daemon_that_holds_the_output_does_not_hold_the_end(cancellation: Cancellation, how: dict[str, Any]) -> None:
    with start(cancellation, "sleep 60 & echo child $!", **how) as terminal:
        assert terminal.wait(BOUND_S).ok
    gone(terminal)


SERVER = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 0))
print("port", server.getsockname()[1], flush=True)
while True:
    peer, _ = server.accept()
    print("asked", flush=True)
    os.write(2, b"x" * 20000 + b"\\n")  # more than a terminal or a pipe holds unread is written by and by
    peer.sendall(b"answer")
    peer.close()
"""


@MODES
def test_background_work_answers_until_it_is_closed(cancellation: Cancellation, how: dict[str, Any]) -> None:
    shown = Shown()
    with start(cancellation, f"{sys.executable} -c '{SERVER}' &", show=shown, plain=True, **how) as terminal:
        port = int(terminal.wait_for(r"port (\d+)\s", BOUND_S)[1])
        assert terminal.wait(BOUND_S).ok
    for _ in range(8):
        with start(cancellation, ["true"]) as other:
            assert other.wait(BOUND_S).ok
        with socket.create_connection(("127.0.0.1", port), BOUND_S) as asking:
            assert asking.recv(100) == b"answer"
    terminal.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), BOUND_S)
    assert shown.text.count("asked") == 8
    reap_the_rest()


@MODES
def test_background_work_that_writes_nowhere_lives_as_well(cancellation: Cancellation, how: dict[str, Any]) -> None:
    with start(cancellation, "sleep 60 > /dev/null 2>&1 < /dev/null & echo child $!", **how) as terminal:
        assert terminal.wait(BOUND_S).ok
        child = int(re.findall(r"\d+", terminal.read(0))[0])
    assert os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None, "it has not ended"
    terminal.close()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def gone(terminal: Terminal) -> None:
    terminal.close()
    reap_the_rest()


def reap_the_rest() -> None:
    """Reap the orphans that were reparented to the test run, which is a subreaper."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return
