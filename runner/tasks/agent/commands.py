"""A command that an agent runs, in a thread. It is ended when the agent stops waiting for it."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path

from runner.context import Context
from runner.errors import TaskFailed
from runner.terminal.terminal import CLOSE_GRACE_S, Terminal


class Command:
    """`run` is for a thread of its own, `end` for the event loop."""

    def __init__(self, ctx: Context, folder: Path, command: str, timeout_s: float) -> None:
        self._ctx = ctx
        self._folder = folder
        self._command = command
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._terminal: Terminal | None = None
        self._ended = False

    def run(self) -> str:
        """Return the output of the command and how it ended."""
        try:
            with self._ctx.terminal(self._command, cwd=self._folder, plain=True, open_stdin=False) as terminal:
                with self._lock:
                    self._terminal = terminal
                    timeout_s = 0.0 if self._ended else self._timeout_s
                try:
                    ending = f"it {terminal.wait(timeout_s)}"
                except TimeoutError:
                    ending = f"it was ended after {timeout_s:g} s"
                return f"{_rest(terminal)}\n({ending})"
        except TaskFailed as exc:
            return f"cannot run {self._command!r}: {exc.message}"
        except ValueError as exc:  # the text cannot be passed to a shell
            return str(exc)

    def end(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the command. If the job is being stopped, its ladder does that."""
        with self._lock:
            self._ended = True
            terminal = self._terminal
        if terminal is not None and not self._ctx.cancelled:
            terminal.signal(signal.SIGTERM)
            # The loop runs for as long as the thread does.
            loop.call_later(CLOSE_GRACE_S, terminal.signal, signal.SIGKILL)


def _rest(terminal: Terminal) -> str:
    try:
        return terminal.read(0)
    except TimeoutError:
        return ""
