"""Lines longer than a terminal keeps, and scripts longer than the kernel takes as one word."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import pytest

from runner.cancellation import Cancellation
from runner.terminal import script, typing_in
from runner.terminal.terminal import Terminal
from tests.support.terminals import BOUND_S, Shown, ended, start

READERS = {
    "cat": "cat > {file}",
    "read": "IFS= read -r x; printf '%s\\n' \"$x\" > {file}; cat >> {file}",
    "input()": sys.executable + ' -c \'x = input(); open("{file}", "w").write(x + chr(10))\'; cat >> {file}',
    "dd": "dd bs=1 of={file} 2>/dev/null",
    "raw": "stty raw -echo; echo RAW; head -c {size} > {file}",
}


def typed(cancellation: Cancellation, reader: str, file: Path, text: bytes) -> Terminal:
    command = f"stty -echo; echo READY; {READERS[reader].format(file=file, size=len(text))}"
    with start(cancellation, command) as terminal:
        terminal.wait_for("RAW" if reader == "raw" else "READY", BOUND_S)
        terminal.write(text, BOUND_S)
        terminal.end_input()
        terminal.wait(BOUND_S)
    return terminal


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("length", [4095, 4096, 10_000])
def test_a_long_line_arrives_whole(cancellation: Cancellation, tmp_path: Path, reader: str, length: int) -> None:
    text = (b"%09d-" * (length // 10 + 1) % tuple(range(length // 10 + 1)))[:length] + b"\n"
    typed(cancellation, reader, tmp_path / "typed", text)
    assert hashlib.sha256((tmp_path / "typed").read_bytes()).digest() == hashlib.sha256(text).digest()


def test_a_line_that_grows_in_pieces_arrives_whole(cancellation: Cancellation, tmp_path: Path) -> None:
    file = tmp_path / "typed"
    with start(cancellation, f"stty -echo; echo READY; cat > {file}") as terminal:
        terminal.wait_for("READY", BOUND_S)
        for _ in range(30):
            terminal.write(b"x" * 333, BOUND_S)
        terminal.write("\nsecond\n", BOUND_S)
        terminal.end_input()
        assert terminal.wait(BOUND_S).ok
    assert file.read_bytes() == b"x" * 9990 + b"\nsecond\n"


def test_the_control_a_line_in_one_piece_is_cut(
    cancellation: Cancellation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typing_in, "_line_enders", lambda _fd: None)
    typed(cancellation, "cat", tmp_path / "typed", b"x" * 10_000 + b"\n")
    assert len((tmp_path / "typed").read_bytes()) == 4096


SAMPLES = {
    "exit code": "exit 7",
    "last command": "(exit 3)",
    "words": 'echo "$0 $# $-"',
    "stdin": 'read x; echo "got $x"',
    "error": "nosuchcommand",
    "line": "\n\nnosuchcommand\n",
    "syntax": "if",
    "descriptors": "ls /proc/self/fd",
    "trap": "trap 'echo over' EXIT; false",
}


@pytest.mark.parametrize("case", SAMPLES)
def test_a_long_script_runs_as_a_short_one(cancellation: Cancellation, pty: bool, case: str) -> None:
    """The control is the short one, which is one word of `bash -c`."""
    said = []
    for padding in ("", "x" * 200_000):
        shown = Shown()
        command = f": {padding}; {SAMPLES[case]}"
        assert (len(command) > script.MAX_WORD_BYTES) == bool(padding)
        status = ended(start(cancellation, command, pty=pty, open_stdin=False, show=shown))
        said.append((status, re.sub("(-c|eval): line", "line", shown.text)))
    assert said[0] == said[1]


def test_a_script_of_the_longest_request(cancellation: Cancellation) -> None:
    shown = Shown()
    assert ended(start(cancellation, "echo " + "y" * 1_000_000, pty=False, show=shown)).ok
    assert shown.text == "y" * 1_000_000 + "\n"
