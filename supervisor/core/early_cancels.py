"""Cancels that came before their job.

A cancel may overtake the submit that it belongs to: for an id not seen yet it is kept for a while, for the token it
came with. Across a restart too: that is when requests get out of step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from supervisor.core.journal.rows import EarlyRow
from supervisor.core.model import Cause

EARLY_CANCEL_KEPT_S = 30.0
MAX_EARLY_CANCELS = 10_000

_CAUSE: TypeAdapter[Cause] = TypeAdapter(Cause)


@dataclass(frozen=True, slots=True)
class _Early:
    cause: Cause
    expires: float


class EarlyCancels:
    """Belongs to the event loop. `on_kept` and `on_taken` tell the journal."""

    def __init__(
        self,
        *,
        on_kept: Callable[[EarlyRow], None] = lambda _row: None,
        on_taken: Callable[[str, str], None] = lambda _token, _id: None,
    ) -> None:
        self._kept: dict[tuple[str, str], _Early] = {}
        self._on_kept = on_kept
        self._on_taken = on_taken

    def restore(self, rows: list[EarlyRow]) -> None:
        """What an earlier server kept. Its monotonic clock meant nothing here, so the detection is now."""
        for row in rows:
            left_s = row.expires_at - time.time()
            if 0 < left_s <= EARLY_CANCEL_KEPT_S:
                now = time.monotonic()
                cause = replace(_CAUSE.validate_json(row.cause), detected=now)
                self._kept[row.token, row.id] = _Early(cause, now + left_s)

    def keep(self, job_id: str, cause: Cause, token: str) -> None:
        """Remember a cancel for a job that nobody has submitted yet. The first is kept, unless force comes."""
        now = time.monotonic()
        self._kept = {key: early for key, early in self._kept.items() if early.expires > now}
        while len(self._kept) >= MAX_EARLY_CANCELS:
            del self._kept[next(iter(self._kept))]
        known = self._kept.get((token, job_id))
        if known is None or (cause.force and not known.cause.force):
            self._kept[token, job_id] = _Early(cause, now + EARLY_CANCEL_KEPT_S)
            text = _CAUSE.dump_json(cause).decode("utf-8")
            self._on_kept(EarlyRow(token, job_id, time.time() + EARLY_CANCEL_KEPT_S, text))

    def take(self, job_id: str, token: str) -> Cause | None:
        early = self._kept.pop((token, job_id), None)
        if early is None:
            return None
        self._on_taken(token, job_id)
        return early.cause if early.expires > time.monotonic() else None
