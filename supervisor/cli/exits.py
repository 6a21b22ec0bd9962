"""What ends a command with one line on stderr.

CommandError           the line, and the exit code
├── Unreachable        no answer, or the server takes nothing now (4)
│   └── StreamCut      a stream ended before the job did; the follower may reconnect
└── Refused            the server answered with an error
"""

from __future__ import annotations

from supervisor.cli.exit_codes import ExitCode
from supervisor.errors import DeadstopError, FieldError


class CommandError(DeadstopError):
    """Ends the command. The message is one line, without the leading `deadstop:`."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        self.code = code
        super().__init__(message)


class Unreachable(CommandError):
    """Met when nothing answers at the address, or the answer is not Deadstop's."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.UNREACHABLE)


class StreamCut(Unreachable):
    """Met when a stream ends, fails or goes silent before the terminal event."""


class Refused(CommandError):
    """Met when the server answers with a problem. `kind` is the end of its `type`, such as `not-found`."""

    def __init__(
        self,
        message: str,
        code: ExitCode,
        *,
        status: int,
        kind: str,
        fields: tuple[FieldError, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, code)
        self.status = status
        self.kind = kind
        self.fields = fields
        self.retry_after_s = retry_after_s
