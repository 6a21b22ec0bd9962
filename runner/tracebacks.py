"""Tracebacks for those who wrote the task: from their own first line on, bounded."""

from __future__ import annotations

import traceback
from pathlib import Path

from runner.text import shown

MAX_TRACEBACK = 8000

_OURS = Path(__file__).parent  # without the packages below it: the built-in tasks are tasks like any other
_IMPORTING = ("<frozen importlib", str(Path(traceback.__file__).with_name("importlib")))


def traceback_of(exc: BaseException) -> str:
    """As Python prints it, without the frames that led from the runner to the task's code. Of a long one, the end."""
    told = traceback.TracebackException.from_exception(exc)
    for index, frame in enumerate(told.stack):
        if Path(frame.filename).parent != _OURS and not frame.filename.startswith(_IMPORTING):
            told.stack = traceback.StackSummary.from_list(told.stack[index:])
            break
    else:
        told.stack = traceback.StackSummary()
    text = shown("".join(told.format()))
    return text if len(text) <= MAX_TRACEBACK else "…" + text[-MAX_TRACEBACK:]
