"""What the runner tells its guardian: that it has seen the ask, and which commands are to be signalled."""

from __future__ import annotations

import os
from collections.abc import Callable

from runner.codec import RUNNER_TO_GUARDIAN, ProtocolError, decode
from runner.protocol import AskSeen, StopCommand

MAX_UNPARSED_BYTES = 4096


class RunnerWords:
    """The guardian's end of the pipe."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._unparsed = b""

    def hear(self, on_ask: Callable[[], object], on_stop: Callable[[int], object]) -> bool:
        """Act on what has come. False at the end, when nothing more will come."""
        frames = self.read()
        for frame in frames or ():
            match frame:
                case AskSeen():
                    on_ask()
                case StopCommand(pid):
                    on_stop(pid)
        return frames is not None

    def read(self) -> list[AskSeen | StopCommand] | None:
        """Return what has come, or None at the end. Call it when there is something to read."""
        data = os.read(self.fd, MAX_UNPARSED_BYTES)
        if not data:
            return None
        *lines, rest = (self._unparsed + data).split(b"\n")
        self._unparsed = rest[:MAX_UNPARSED_BYTES]
        frames: list[AskSeen | StopCommand] = []
        for line in lines:
            try:
                frames.append(decode(RUNNER_TO_GUARDIAN, line))
            except ProtocolError:
                # A process that the task has forked holds the pipe as well. What it writes may be anything, and can
                # only ask for signals to its own job.
                continue
        return frames
