"""Commands in terminals and on pipes, started without a job around them."""

from __future__ import annotations

from typing import Any

from runner.cancellation import Cancellation
from runner.reporter import Stream
from runner.terminal.exit_status import ExitStatus
from runner.terminal.script import shell_words
from runner.terminal.spawn import DEFAULT_SIZE, spawn
from runner.terminal.terminal import Terminal

BOUND_S = 10.0


class Shown:
    """A callback that collects the output meant for the job's events."""

    def __init__(self) -> None:
        self.pieces: list[tuple[Stream, str]] = []

    def __call__(self, stream: Stream, text: str) -> None:
        self.pieces.append((stream, text))

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.pieces)


def start(
    cancellation: Cancellation, command: str | list[str], *, show: Shown | None = None, plain: bool = False, **how: Any
) -> Terminal:
    argv = shell_words(command) if isinstance(command, str) else command
    settings: dict[str, Any] = {"pty": True, "cwd": "/", "env": None, "size": DEFAULT_SIZE} | how
    settings.setdefault("open_stdin", settings["pty"])
    return Terminal(spawn(argv, **settings), cancellation, show, plain=plain)


def ended(terminal: Terminal) -> ExitStatus:
    try:
        return terminal.wait(BOUND_S)
    finally:
        terminal.close()
