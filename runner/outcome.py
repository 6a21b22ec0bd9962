"""How a task ended, in words for whoever started the job. Nothing that a task raises keeps this from being said."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from runner.cancellation import Cancellation
from runner.errors import TaskFailed
from runner.protocol import MAX_MESSAGE, ErrorKind, Failure, Result
from runner.text import shown, shown_repr, words_of
from runner.tracebacks import traceback_of


def explain(exc: BaseException, cancellation: Cancellation) -> Failure:
    """What a client should read. When the job was cancelled this is dropped: the cancel wins over its effects."""
    exc = _said_by_the_task(exc)
    if isinstance(exc, TaskFailed):
        kind: ErrorKind = exc.kind  # type: ignore[assignment]
        cause = traceback_of(exc.__cause__) if kind == "load" and exc.__cause__ is not None else None
        return Failure(kind, shown(exc.message, MAX_MESSAGE), exc.exit_code, exc.signal, cause)
    # A task that unwinds without having been asked was sent SIGTERM; else it has raised this by itself.
    if isinstance(exc, KeyboardInterrupt) and cancellation.unwinding and not cancellation.requested:
        return Failure("signalled", "the task was ended by SIGTERM", signal="SIGTERM")
    if isinstance(exc, SystemExit):
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        # As the operating system would have it, which keeps one byte.
        said = shown(f"the task called sys.exit({shown_repr(exc.code)})", MAX_MESSAGE)
        return Failure("exited", said, exit_code=code & 0xFF)
    return Failure("raised", words_of(exc)[:MAX_MESSAGE], traceback=traceback_of(exc))


@contextmanager
def error_of_ours_reported(send: Callable[[Failure], None]) -> Iterator[None]:
    """Send what the runner itself fails of, such as a workspace that cannot be made: its exit code says nothing."""
    runner_pid = os.getpid()
    try:
        yield
    except BaseException as exc:
        if os.getpid() == runner_pid:
            kind: ErrorKind = "store" if isinstance(exc, OSError) else "load"
            said = shown(f"the job's process could not run the task: {words_of(exc)}", MAX_MESSAGE)
            send(Failure(kind, said, traceback=traceback_of(exc)))
        raise


def end_of_a_copy(outcome: Result | Failure) -> NoReturn:
    """The end of a process that the task made with os.fork and let run out of its function.

    It ends as a program would. How the job ended is for the runner to say, and for nobody else.
    """
    if isinstance(outcome, Result):
        os._exit(0)
    if outcome.kind == "exited":
        os._exit(outcome.exit_code or 0)
    print(outcome.traceback or outcome.message, file=sys.stderr, flush=True)
    os._exit(1)


def _said_by_the_task(exc: BaseException) -> BaseException:
    """The TaskFailed that a TaskGroup has wrapped, if that is all there is in it."""
    inner = exc
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, TaskFailed) else exc
