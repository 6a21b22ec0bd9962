"""Limit the CPU time of one check. A check that takes more is stopped.

Clients choose the input and authors of tasks choose the schema, and nested alternatives double the work with each
level. The CPU time of the thread measures all of it, and does not depend on how busy the machine is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LOOK_EVERY = 8
"""Steps between two readings of the clock, each of which costs as much as a cheap step."""


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
    """Let `step` raise TooCostly once this thread has used that much CPU time in the block."""
    token = _pace.set(_Pace(seconds))
    try:
        yield
    finally:
        _pace.reset(token)


def step(*, heavy: bool = False) -> None:
    """Count one step of work. `heavy` means that it may take long by itself."""
    pace = _pace.get()
    if pace is not None:
        pace.step(heavy=heavy)
