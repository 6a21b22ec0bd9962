from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from runner.errors import TaskFailed


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a command ended: `code` if it exited by itself, otherwise `signal`, the name of the signal, such as
    "SIGKILL".
    """

    code: int | None
    signal: str | None = None

    @classmethod
    def of(cls, wait_status: int) -> ExitStatus:
        """Convert a status as waitpid(2) returns it."""
        if os.WIFSIGNALED(wait_status):
            number = os.WTERMSIG(wait_status)
            name = signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"
            return cls(None, name)
        return cls(os.waitstatus_to_exitcode(wait_status))

    @property
    def ok(self) -> bool:
        return self.code == 0

    def check(self) -> None:
        """Raise TaskFailed (kind exited or signalled) unless the exit code is 0."""
        if self.signal is not None:
            raise TaskFailed("signalled", f"the command was ended by {self.signal}", signal=self.signal)
        if self.code != 0:
            raise TaskFailed("exited", f"the command ended with exit code {self.code}", exit_code=self.code)

    def __str__(self) -> str:
        return f"was ended by {self.signal}" if self.signal is not None else f"ended with exit code {self.code}"
