"""Messages from the runner to its guardian: it has seen the ask, or a command is to be signalled."""

from __future__ import annotations

import os
from collections.abc import Callable

from runner.codec import RUNNER_TO_GUARDIAN, ProtocolError, decode
from runner.protocol import AskSeen, StopCommand

MAX_UNPARSED_BYTES = 4096


class RunnerMessages:
    """The guardian's end of the pipe."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._unparsed = b""

    def handle(self, on_ask: Callable[[], object], on_stop: Callable[[int], object]) -> bool:
        """Call the handlers for the messages that have arrived. Return False at the end of the pipe."""
        frames = self.read()
        for frame in frames or ():
            match frame:
                case AskSeen():
                    on_ask()
                case StopCommand(pid):
                    on_stop(pid)
        return frames is not None

    def read(self) -> list[AskSeen | StopCommand] | None:
        """Return the messages that have arrived, or None at the end of the pipe. Call it when the pipe is readable."""
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
                # A process that the task has forked has the pipe too. It may write anything, but can only request
                # signals to its own job.
                continue
        return frames
