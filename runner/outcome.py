"""The outcome of a task, as a message for people. Nothing that a task raises prevents it from being reported."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from runner.cancellation import Cancellation
from runner.errors import TaskFailed
from runner.protocol import MAX_MESSAGE, ErrorKind, Failure, Result
from runner.text import describe_exception, shown, shown_repr
from runner.tracebacks import traceback_of


def explain(exc: BaseException, cancellation: Cancellation) -> Failure:
    """Describe an exception for clients. If the job was cancelled this is dropped: the cancel takes precedence."""
    exc = _unwrap_group(exc)
    if isinstance(exc, TaskFailed):
        kind: ErrorKind = exc.kind  # type: ignore[assignment]
        cause = traceback_of(exc.__cause__) if kind == "load" and exc.__cause__ is not None else None
        return Failure(kind, shown(exc.message, MAX_MESSAGE), exc.exit_code, exc.signal, cause)
    # A task that unwinds without a request was sent SIGTERM; otherwise it has raised this by itself.
    if isinstance(exc, KeyboardInterrupt) and cancellation.unwinding and not cancellation.requested:
        return Failure("signalled", "the task was ended by SIGTERM", signal="SIGTERM")
    if isinstance(exc, SystemExit):
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        # The operating system keeps one byte of an exit code.
        message = shown(f"the task called sys.exit({shown_repr(exc.code)})", MAX_MESSAGE)
        return Failure("exited", message, exit_code=code & 0xFF)
    return Failure("raised", describe_exception(exc)[:MAX_MESSAGE], traceback=traceback_of(exc))


@contextmanager
def own_errors_reported(send: Callable[[Failure], None]) -> Iterator[None]:
    """Report an error of the runner itself, such as a workspace that cannot be created: its exit code says too
    little.
    """
    runner_pid = os.getpid()
    try:
        yield
    except BaseException as exc:
        if os.getpid() == runner_pid:
            kind: ErrorKind = "store" if isinstance(exc, OSError) else "load"
            message = shown(f"the job's process could not run the task: {describe_exception(exc)}", MAX_MESSAGE)
            send(Failure(kind, message, traceback=traceback_of(exc)))
        raise


def end_forked_copy(outcome: Result | Failure) -> NoReturn:
    """End a process that the task has created by os.fork and that has returned from its function.

    It ends as a program would. Only the runner reports how the job ended.
    """
    if isinstance(outcome, Result):
        os._exit(0)
    if outcome.kind == "exited":
        os._exit(outcome.exit_code or 0)
    print(outcome.traceback or outcome.message, file=sys.stderr, flush=True)
    os._exit(1)


def _unwrap_group(exc: BaseException) -> BaseException:
    """Return the TaskFailed that a TaskGroup has wrapped, if it contains nothing else."""
    inner = exc
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, TaskFailed) else exc
