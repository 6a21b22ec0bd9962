"""Commands in terminals and on pipes, as a task uses them."""

from __future__ import annotations

import os
import re
import termios
from pathlib import Path
from typing import Any

import pytest

from runner.cancellation import Cancellation
from runner.errors import CommandEnded, TaskFailed
from runner.terminal.exit_status import ExitStatus
from tests.support.terminals import BOUND_S, Shown, ended, start


@pytest.mark.parametrize(
    ("command", "status"),
    [("true", ExitStatus(0)), ("exit 3", ExitStatus(3)), ("kill -9 $$", ExitStatus(None, "SIGKILL"))],
)
def test_exit_status(cancellation: Cancellation, pty: bool, command: str, status: ExitStatus) -> None:
    assert ended(start(cancellation, command, pty=pty)) == status


@pytest.mark.parametrize(
    ("argv", "code"), [(["no-such-command"], 127), (["./no-such-file"], 127), (["/etc/hostname"], 126), (["/tmp"], 126)]
)
def test_what_cannot_be_run_has_the_code_of_a_shell(
    cancellation: Cancellation, pty: bool, argv: list[str], code: int
) -> None:
    with pytest.raises(TaskFailed) as caught:
        start(cancellation, argv, pty=pty)
    assert caught.value.exit_code == code


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"command": []}, "without words"),
        ({"command": ["echo", "a\0b"]}, "NUL"),
        ({"command": "true", "env": {"A": "\0"}}, "NUL"),
        ({"command": "true", "env": {"A=B": "x"}}, "name 'A=B'"),
        ({"command": "true", "size": (70_000, 80)}, r"size \(70000, 80\)"),
    ],
)
def test_an_invalid_command_is_refused_before_anything_starts(
    cancellation: Cancellation, pty: bool, how: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        start(cancellation, pty=pty, **how)


def test_what_fails_between_fork_and_exec_stays_in_the_child(
    cancellation: Cancellation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("after the fork")

    monkeypatch.setattr(os, "execve", fail)
    monkeypatch.setattr(os, "execvpe", fail)
    test = os.getpid()
    try:
        status = ended(start(cancellation, ["true"]))
    finally:
        if os.getpid() != test:
            os._exit(99)  # a copy of this test
    assert status == ExitStatus(126)


def test_a_program_is_looked_for_in_its_own_directory_and_path(
    cancellation: Cancellation, pty: bool, tmp_path: Path
) -> None:
    program = tmp_path / "hello"
    program.write_text("#!/bin/sh\necho hello from $PWD\n")
    program.chmod(0o755)
    for argv, env in ((["./hello"], None), (["hello"], {"PATH": f"{tmp_path}:/bin:/usr/bin"})):
        shown = Shown()
        assert ended(start(cancellation, argv, pty=pty, cwd=tmp_path, env=env, show=shown)).ok
        assert shown.text.strip() == f"hello from {tmp_path}"


def test_reading_writing_and_waiting(cancellation: Cancellation) -> None:
    shown = Shown()
    with start(cancellation, "stty -echo; echo name?; read name; echo hello $name", show=shown) as terminal:
        terminal.wait_for(r"name\?\s")
        terminal.write("world\n")
        assert terminal.wait_for(r"hello (\w+)", BOUND_S)[1] == "world"
        assert terminal.wait(BOUND_S).ok
        assert terminal.read().strip() == ""
    assert "".join(shown.text.split()) == "name?helloworld"


def test_a_wait_says_what_came_instead(cancellation: Cancellation, pty: bool) -> None:
    with start(cancellation, "echo something; exec sleep 60", pty=pty) as terminal:
        terminal.wait_for("some", BOUND_S)
        with pytest.raises(TimeoutError, match=r"'nothing'.*thing"):
            terminal.wait_for("nothing", 0.1)
    with start(cancellation, "echo something; exit 4", pty=pty) as terminal:
        with pytest.raises(CommandEnded, match=r"exit code 4.*something"):
            terminal.wait_for("nothing", BOUND_S)
        with pytest.raises(CommandEnded):
            terminal.write("anybody?")


def test_utf8_survives_every_cut(cancellation: Cancellation, pty: bool) -> None:
    text = "aä漢😀"
    command = ["python3", "-c", f"import os\nfor b in {text.encode()!r} * 50: os.write(1, bytes([b]))"]
    with start(cancellation, command, pty=pty) as terminal:
        assert "".join(terminal) == text * 50


def test_escape_sequences_are_shown_and_stripped_on_request(cancellation: Cancellation) -> None:
    shown = Shown()
    with start(cancellation, r"printf '\033[31mred\033[0m\n'", show=shown, plain=True) as terminal:
        assert "".join(terminal) == "red\n"
    assert shown.text == "\x1b[31mred\x1b[0m\r\n"


@pytest.mark.parametrize(("written", "read"), [(r"50%%\r", "50%\r"), (r"a\033]0;not a title", "a]0;not a title")])
def test_what_was_no_escape_sequence_after_all_is_read_at_the_end(
    cancellation: Cancellation, written: str, read: str
) -> None:
    with start(cancellation, f"printf '{written}'", plain=True) as terminal:
        assert "".join(terminal) == read
    with start(cancellation, f"printf '{written}'", plain=True) as terminal:
        terminal.wait_for(f"{re.escape(read)}$", BOUND_S)


def test_size(cancellation: Cancellation) -> None:
    command = "stty size; trap 'stty size; exit' WINCH; echo READY; while :; do sleep 0.05; done"
    with start(cancellation, command, size=(50, 132)) as terminal:
        terminal.wait_for("50 132", BOUND_S)
        terminal.wait_for("READY", BOUND_S)
        terminal.resize(10, 20)
        terminal.wait_for("10 20", BOUND_S)
        assert terminal.wait(BOUND_S).ok
    with start(cancellation, "sleep 60", size=(3, 3)) as other:
        terminal.resize(5, 5)  # its number may be the other's by now
        assert termios.tcgetwinsize(next(iter(other._io.spawned.outputs))) == (3, 3)


def test_the_end_of_input(cancellation: Cancellation, pty: bool) -> None:
    for text in ("", "a line\n", "half a line"):
        with start(cancellation, "cat; echo over", pty=pty, open_stdin=True) as terminal:
            if text:
                terminal.write(text)
            terminal.end_input()
            terminal.wait_for("over", BOUND_S)
            assert terminal.wait(BOUND_S).ok


def test_a_command_that_closed_its_stdin_is_not_written_to(cancellation: Cancellation) -> None:
    with start(cancellation, "exec <&-; echo closed; sleep 60", pty=False, open_stdin=True) as terminal:
        terminal.wait_for("closed", BOUND_S)
        with pytest.raises(CommandEnded, match="closed its input"):
            terminal.write("x" * 100_000, BOUND_S)


def test_much_input_and_output_do_not_wait_for_each_other(cancellation: Cancellation, pty: bool) -> None:
    line = "x" * 1000 + "\n"
    with start(cancellation, "stty raw -echo 2>/dev/null; echo READY; cat", pty=pty, open_stdin=True) as terminal:
        terminal.wait_for(r"READY\r?\n", BOUND_S)
        terminal.write(line * 300, BOUND_S)
        terminal.wait_for(r"(?:x{1000}\n){300}", BOUND_S)


def test_many_at_once(cancellation: Cancellation) -> None:
    terminals = [start(cancellation, "read n; echo got-$n; read end") for _ in range(20)]
    try:
        for number, terminal in enumerate(terminals):
            terminal.write(f"{number}\n")
        for number, terminal in enumerate(terminals):
            terminal.wait_for(f"got-{number}\\b", BOUND_S)
        assert [terminal.status for terminal in terminals] == [None] * 20
    finally:
        for terminal in terminals:
            terminal.close()
    assert all(terminal.status is not None for terminal in terminals)


def test_no_command_holds_the_descriptors_of_another(cancellation: Cancellation, pty: bool) -> None:
    others = start(cancellation, ["sleep", "60"]), start(cancellation, ["sleep", "60"], pty=False, open_stdin=True)
    with others[0], others[1], start(cancellation, ["ls", "/proc/self/fd"], pty=pty, plain=True) as terminal:
        assert "".join(terminal).split() == ["0", "1", "2", "3"]  # 3 is the listing itself
