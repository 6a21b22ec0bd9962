"""A command that is not typed into has an empty stdin and no terminal to ask; one that is has both."""

from __future__ import annotations

import shlex
import sys

import pytest

from runner.cancellation import Cancellation
from tests.support.terminals import BOUND_S, Shown, start

ASKING = {
    "cat": "cat",
    "read": "read x; echo status $?",
    "input()": f"{sys.executable} -c 'input()' 2>&1 | tail -1",
    "/dev/tty": "{ read x < /dev/tty; } 2>&1; echo status $?",
    "stderr": "{ read x <&2; } 2>/dev/null; echo status $?",
    "stdout": "{ read x <&1; } 2>/dev/null; echo status $?",
    "after /dev/stdout": "echo > /dev/stdout; { read x < /dev/tty; } 2>&1; echo status $?",
}
ANSWERS = {
    "cat": "",
    "read": "status 1",
    "input()": "EOFError: EOF when reading a line",
    "/dev/tty": "/bin/bash: line 1: /dev/tty: No such device or address status 1",
    "stderr": "status 1",
    "stdout": "status 1",
    "after /dev/stdout": "/bin/bash: line 1: /dev/tty: No such device or address status 1",
}


@pytest.mark.parametrize("case", ASKING)
def test_nothing_waits_for_a_person_who_does_not_type(cancellation: Cancellation, pty: bool, case: str) -> None:
    shown = Shown()
    with start(cancellation, ASKING[case], pty=pty, open_stdin=False, show=shown) as terminal:
        assert terminal.wait(BOUND_S) is not None
    assert " ".join(shown.text.split()) == ANSWERS[case]


def test_its_output_needs_no_keys(cancellation: Cancellation, pty: bool) -> None:
    look = "seq 1000 | ${PAGER:-less} | tail -1; printenv GIT_PAGER || echo none"
    for open_stdin, env, pager in (
        (False, {}, "cat" if pty else "none"),
        (False, {"GIT_PAGER": "less"}, "less"),
        (True, {}, "none"),
    ):
        with start(cancellation, look, pty=pty, open_stdin=open_stdin, env=env, plain=True) as terminal:
            assert "".join(terminal).split() == ["1000", pager]


def test_its_output_is_a_terminal(cancellation: Cancellation) -> None:
    look = "import os, sys; print([os.isatty(fd) for fd in range(3)], os.get_terminal_size(1))"
    with start(cancellation, [sys.executable, "-c", look], open_stdin=False, size=(33, 99), plain=True) as terminal:
        assert "".join(terminal) == "[False, True, True] os.terminal_size(columns=99, lines=33)\n"


def test_one_that_is_typed_into_controls_its_terminal(cancellation: Cancellation) -> None:
    look = (
        "import os; print([os.isatty(fd) for fd in range(3)], os.tcgetpgrp(0) == os.getpid(), os.open('/dev/tty', 2))"
    )
    with start(cancellation, [sys.executable, "-c", look], plain=True) as terminal:
        assert "".join(terminal) == "[True, True, True] True 3\n"
    with start(cancellation, "trap 'echo interrupted; exit 3' INT; echo READY; read x < /dev/tty") as terminal:
        terminal.wait_for("READY", BOUND_S)
        terminal.write(b"\x03")
        terminal.wait_for("interrupted", BOUND_S)
        assert terminal.wait(BOUND_S).code == 3


PEOPLE = """
import os, pty
master, slave = pty.openpty()
other = os.open(os.ttyname(slave), os.O_RDWR)
os.close(slave); os.close(other); os.close(master)
print("alive")
"""


def test_a_terminal_that_is_opened_by_name_ends_nothing(cancellation: Cancellation, pty: bool) -> None:
    for open_stdin in (False, True):
        with start(
            cancellation, f"{sys.executable} -c {shlex.quote(PEOPLE)}", pty=pty, open_stdin=open_stdin, plain=True
        ) as terminal:
            assert "".join(terminal) == "alive\n"
