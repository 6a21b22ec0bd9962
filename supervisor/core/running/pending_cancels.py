"""Cancels that arrive before their job.

A cancel may overtake the request that submits its job. So a cancel for an unknown ID is kept for a while, for the same
token. It also survives a restart, because that is when requests are likely to arrive out of order.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from supervisor.boot import boot_id
from supervisor.core.jobs.model import Cause
from supervisor.core.journal.rows import EarlyRow
from supervisor.core.loop.awake_clock import AwakeClock

EARLY_CANCEL_KEPT_S = 30.0
MAX_EARLY_CANCELS = 10_000
"""The limit for one token. Beyond it the token's oldest cancel is dropped."""

_CAUSE: TypeAdapter[Cause] = TypeAdapter(Cause)


@dataclass(frozen=True, slots=True)
class _Early:
    cause: Cause
    expires: float


class PendingCancels:
    """Only for use on the event loop. `on_kept` and `on_gone` keep the journal's copy up to date."""

    def __init__(
        self,
        clock: AwakeClock,
        *,
        on_kept: Callable[[EarlyRow], None] = lambda _row: None,
        on_gone: Callable[[str, str], None] = lambda _token, _id: None,
    ) -> None:
        self._clock = clock
        self._boot_id = boot_id()
        self._kept: dict[str, dict[str, _Early]] = {}
        """Cancels by token, then by job ID in the order in which they expire."""
        self._on_kept = on_kept
        self._on_gone = on_gone

    def restore(self, rows: list[EarlyRow]) -> None:
        """Keep the cancels of an earlier server for the rest of their time. They count as detected now."""
        for row in sorted(rows, key=lambda row: row.expires_at):
            left_s = self._left_s(row)
            if 0 < left_s <= EARLY_CANCEL_KEPT_S:
                cause = replace(_CAUSE.validate_json(row.cause), detected=time.monotonic())
                self._of(row.token)[row.id] = _Early(cause, self._clock.now() + left_s)
            else:
                self._on_gone(row.token, row.id)

    def _left_s(self, row: EarlyRow) -> float:
        # Within one boot the monotonic clock continues across servers, even if the wall clock is set.
        kept = json.loads(row.cause)
        if kept.get("boot_id") == self._boot_id:
            return float(EARLY_CANCEL_KEPT_S - (time.monotonic() - kept["kept_at"]))
        return row.expires_at - time.time()

    def keep(self, job_id: str, cause: Cause, token: str) -> None:
        """Keep a cancel for a job that was not submitted yet, or keep it for longer.

        The first cause is kept, unless a later one has `force`.
        """
        now = self._clock.now()
        kept = self._of(token)
        while kept and (len(kept) >= MAX_EARLY_CANCELS or next(iter(kept.values())).expires <= now):
            oldest = next(iter(kept))
            del kept[oldest]
            self._on_gone(token, oldest)
        known = kept.pop(job_id, None)
        if known is not None and (known.cause.force or not cause.force):
            cause = known.cause
        kept[job_id] = _Early(cause, now + EARLY_CANCEL_KEPT_S)
        self._on_kept(EarlyRow(token, job_id, time.time() + EARLY_CANCEL_KEPT_S, self._text(cause)))

    def _text(self, cause: Cause) -> str:
        fields = _CAUSE.dump_python(cause, mode="json")
        return json.dumps(fields | {"kept_at": time.monotonic(), "boot_id": self._boot_id})

    def take(self, job_id: str, token: str) -> Cause | None:
        early = self._of(token).pop(job_id, None)
        if early is None:
            return None
        self._on_gone(token, job_id)
        return early.cause if early.expires > self._clock.now() else None

    def _of(self, token: str) -> dict[str, _Early]:
        return self._kept.setdefault(token, {})
