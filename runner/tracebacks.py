"""Tracebacks for the authors of tasks: they begin at the first line of the task's code, and are limited in length."""

from __future__ import annotations

import traceback
from pathlib import Path

from runner.text import shown

MAX_TRACEBACK = 8000

_OURS = Path(__file__).parent  # not the packages below it: the built-in tasks are tasks like any other
_IMPORTING = ("<frozen importlib", str(Path(traceback.__file__).with_name("importlib")))


def traceback_of(exc: BaseException) -> str:
    """Format an exception as Python does, without the frames that lead from the runner to the task's code.

    Keep the end of a long one.
    """
    formatted = traceback.TracebackException.from_exception(exc)
    for index, frame in enumerate(formatted.stack):
        if Path(frame.filename).parent != _OURS and not frame.filename.startswith(_IMPORTING):
            formatted.stack = traceback.StackSummary.from_list(formatted.stack[index:])
            break
    else:
        formatted.stack = traceback.StackSummary()
    text = shown("".join(formatted.format()))
    return text if len(text) <= MAX_TRACEBACK else "…" + text[-MAX_TRACEBACK:]
