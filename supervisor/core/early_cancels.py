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
"""Of one token: it pushes out its own oldest, and nobody else's."""

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
        self._kept: dict[str, dict[str, _Early]] = {}
        """By token, and by id in the order in which they expire."""
        self._on_kept = on_kept
        self._on_taken = on_taken

    def restore(self, rows: list[EarlyRow]) -> None:
        """What an earlier server kept. Its monotonic clock meant nothing here, so the detection is now."""
        for row in sorted(rows, key=lambda row: row.expires_at):
            left_s = row.expires_at - time.time()
            if 0 < left_s <= EARLY_CANCEL_KEPT_S:
                now = time.monotonic()
                cause = replace(_CAUSE.validate_json(row.cause), detected=now)
                self._of(row.token)[row.id] = _Early(cause, now + left_s)

    def keep(self, job_id: str, cause: Cause, token: str) -> None:
        """Remember a cancel for a job that nobody has submitted yet, or remember it for longer.

        The first cause is kept, unless force comes.
        """
        now = time.monotonic()
        kept = self._of(token)
        while kept and (len(kept) >= MAX_EARLY_CANCELS or next(iter(kept.values())).expires <= now):
            del kept[next(iter(kept))]
        known = kept.pop(job_id, None)
        if known is not None and (known.cause.force or not cause.force):
            cause = known.cause
        kept[job_id] = _Early(cause, now + EARLY_CANCEL_KEPT_S)
        text = _CAUSE.dump_json(cause).decode("utf-8")
        self._on_kept(EarlyRow(token, job_id, time.time() + EARLY_CANCEL_KEPT_S, text))

    def take(self, job_id: str, token: str) -> Cause | None:
        early = self._of(token).pop(job_id, None)
        if early is None:
            return None
        self._on_taken(token, job_id)
        return early.cause if early.expires > time.monotonic() else None

    def _of(self, token: str) -> dict[str, _Early]:
        return self._kept.setdefault(token, {})
