"""One event of a job, as it came over the wire."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

TERMINAL_TYPES = frozenset({"job.succeeded", "job.failed", "job.cancelled", "job.timed_out", "job.lost"})


@dataclass(frozen=True, slots=True)
class Event:
    """`id` is the number in the job's sequence, None for what is outside of it (`stream.gap`, `stream.closing`)."""

    type: str
    id: int | None
    data: dict[str, Any]

    @property
    def terminal(self) -> bool:
        return self.type in TERMINAL_TYPES

    @property
    def at(self) -> datetime | None:
        try:
            return datetime.fromisoformat(self.data["at"])
        except (KeyError, TypeError, ValueError):
            return None


def parse_event(type_: str, data: str, id_: str) -> Event | None:
    """None for what carries nothing: heartbeats and empty frames. Raises ValueError when `data` is no JSON object."""
    if type_ == "heartbeat" or not data:
        return None
    fields = json.loads(data)
    if not isinstance(fields, dict):
        raise ValueError(f"event {type_} is not a JSON object")
    # SSE repeats the last id on frames that have none of their own; the numbered ones say it in their data, too.
    number = fields.get("id")
    return Event(type_, number if isinstance(number, int) and str(number) == id_ else None, fields)
