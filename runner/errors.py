"""How a task says that it failed, when a plain exception would say too little."""

from __future__ import annotations

KINDS = ("raised", "exited", "signalled", "load", "protocol")


class TaskFailed(Exception):
    """Ends the job as `failed` with exactly these fields, and without a traceback unless what failed is an import.

    `kind` is one of raised, exited, signalled, load, protocol, else ValueError.
    """

    def __init__(self, kind: str, message: str, *, exit_code: int | None = None, signal: str | None = None) -> None:
        super().__init__(message)
        if kind not in KINDS:
            raise ValueError(f"cannot fail with kind {kind!r} ({message}): use one of {', '.join(KINDS)}")
        self.kind = kind
        self.message = message
        self.exit_code = exit_code
        self.signal = signal


class CommandEnded(Exception):
    """Met by a task that reads from, waits for or writes to a command which has ended, or has closed its input."""
