"""The exceptions that a task raises or gets."""

from __future__ import annotations

KINDS = ("raised", "exited", "signalled", "load", "protocol")


class TaskFailed(Exception):
    """Raise it to end the job as `failed` with exactly these fields, without a traceback unless an import failed.

    `kind` is one of raised, exited, signalled, load and protocol; anything else raises ValueError.
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
    """Raised when a task reads from, waits for or writes to a command that has ended, or has closed its input."""


class JobCancelled(KeyboardInterrupt):
    """Raised in a task that is being cancelled.

    It is a BaseException, so that `except Exception` does not stop it, and a KeyboardInterrupt, which ends programs
    already. Event loops, pools and test runners catch other exceptions in the task, greenlet or test and continue; this
    one they pass on and unwind. See asyncio's `Task`, gevent's `Hub.SYSTEM_ERROR`, pytest's `CallInfo.from_call`.
    """
