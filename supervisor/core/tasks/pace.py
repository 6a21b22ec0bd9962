"""How much computing one check may take. A check that takes more is given up, whatever makes it costly.

A client chooses the input and a task's author chooses the schema; alternatives inside alternatives double the work with
each level. Counting CPU time of the thread bounds all of it, and a busy machine changes nothing about the answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LOOK_EVERY = 8
"""Steps between two looks at the clock, which costs as much as a cheap step."""


class TooCostly(Exception):
    """Raised by `step` when the allowance is used up."""


class _Pace:
    def __init__(self, allowance_s: float) -> None:
        self._until = time.thread_time() + allowance_s
        self._steps = 0

    def step(self, *, heavy: bool) -> None:
        self._steps += 1
        if (heavy or self._steps % LOOK_EVERY == 0) and time.thread_time() > self._until:
            raise TooCostly


_pace: ContextVar[_Pace | None] = ContextVar("pace", default=None)


@contextmanager
def allowance(seconds: float) -> Iterator[None]:
    """Let `step` raise TooCostly once this thread has computed for so long in the block."""
    token = _pace.set(_Pace(seconds))
    try:
        yield
    finally:
        _pace.reset(token)


def step(*, heavy: bool = False) -> None:
    """Count one piece of work. `heavy`: it may be long by itself."""
    pace = _pace.get()
    if pace is not None:
        pace.step(heavy=heavy)
