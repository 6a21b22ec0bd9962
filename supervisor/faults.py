"""Contained internal errors: each is logged when it changes, and shown by /readyz for a while.

An unexpected exception ends only the part in which it was raised: a job's controller, a round of the self-test, a round
of the stuck monitor. This module makes sure that it is still noticed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

KEPT_S = 30.0
"""How long /readyz shows an error after it was last seen."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Fault:
    words: str
    seen_at: float


class Faults:
    """Only for use on the event loop. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[tuple[str, str | None], _Fault] = {}
        """Recent errors by part and job."""

    def note(self, where: str, error: BaseException, *, job_id: str | None = None) -> None:
        """Record an error of one part of the server. Log it with its traceback, unless the same error came before."""
        self._forget_old()
        words = f"{type(error).__name__}: {error}"
        known = self._last.get((where, job_id))
        self._last[where, job_id] = _Fault(words, self._clock())
        if known is None or known.words != words:
            log.error("internal_error", where=where, error=words, exc_info=error, job_id=job_id)

    def current(self) -> dict[str, str]:
        """Return the recent errors: part of the server → error in words."""
        self._forget_old()
        return {where: fault.words for (where, _), fault in self._last.items()}

    def _forget_old(self) -> None:
        oldest = self._clock() - KEPT_S
        self._last = {key: fault for key, fault in self._last.items() if fault.seen_at >= oldest}

    @property
    def words(self) -> str:
        """The recent errors in one line; empty if there are none."""
        return "; ".join(f"{where}: {words}" for where, words in self.current().items())
