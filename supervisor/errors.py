"""Errors with a reason that a person can act on.

    DeadstopError
    ├── InvalidRequest     the request's fields are wrong; names each field and what to do
    ├── NotFound           no such job (or route)
    ├── Conflict           the id or key is taken, or the job is not in a state that allows this
    ├── QueueFull          too many jobs already wait; try again after `retry_after_s`
    ├── InputFull          the job has not read its earlier input; try again after `retry_after_s`
    ├── StorageFull        the job's row cannot be written: the disk of STATE_DIR is full, or fails
    ├── NotReady           the server cannot take this *yet* (task being described) or *any more* (shutting down)
    └── StartupError       `serve` cannot start: bad setting, port in use, state folder locked

Anything else that is raised is a bug and is logged with its traceback.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_ERRORS = 20
"""How many errors one rejection names."""


class DeadstopError(Exception):
    """Base of the errors whose message is meant for a person: one line, "cannot X: reason", and what to do."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One error in a request. `field` is a dotted path such as `input.width`, "" for the whole body."""

    field: str
    message: str


class InvalidRequest(DeadstopError):
    """Raised if the body, query or path of a request is wrong (HTTP 422)."""

    def __init__(self, errors: list[FieldError], *, more: int | None = 0) -> None:
        """Name the first MAX_ERRORS of `errors`. `more` is the number of others, None if not counted."""
        self.errors = [FieldError(error.field[:200], error.message[:500]) for error in errors[:MAX_ERRORS]]
        rest = None if more is None else len(errors) - len(self.errors) + more
        if rest is None or rest > 0:
            self.errors.append(FieldError("", "and more" if rest is None else f"and {rest} more"))
        super().__init__("; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in self.errors))

    @classmethod
    def at(cls, field: str, message: str) -> InvalidRequest:
        return cls([FieldError(field, message)])


class NotFound(DeadstopError):
    """Raised if a request names a job that this server does not know (HTTP 404)."""


class Conflict(DeadstopError):
    """Raised if an id or key belongs to another request, or a job's state does not allow the operation (HTTP 409)."""


class QueueFull(DeadstopError):
    """Raised if MAX_QUEUED jobs already wait (HTTP 429). `retry_after_s` is a hint in seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class InputFull(DeadstopError):
    """Raised if a client types faster than the job reads (HTTP 429). `retry_after_s` is a hint in seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class NotReady(DeadstopError):
    """Raised before a task module is described, during shutdown, or while a disk does not answer (HTTP 503)."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class StorageFull(DeadstopError):
    """Raised if a job, or the request to forget one, cannot be written to the journal (HTTP 507)."""


class StartupError(DeadstopError):
    """Raised if the server cannot start. The command prints the message on one line and exits."""
