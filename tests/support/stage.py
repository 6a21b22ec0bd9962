"""One job of the fake server: the events that a test's script emits, and what a stream of them does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = Any


def cancellation(**changes: Json) -> dict[str, Json]:
    """Return the record of a successful cancellation."""
    record: dict[str, Json] = {
        "reason": "api",
        "detail": None,
        "requested_at": "2026-01-01T00:00:00.000Z",
        "force": False,
        "budget_s": 2.0,
        "acknowledged_ms": 12.0,
        "terminated_ms": None,
        "killed_ms": None,
        "gone_ms": 48.0,
        "method": "cooperative",
        "proof": "echild",
        "processes_seen": 3,
        "survivors": [],
        "workspace_removed": True,
        "within_budget": True,
    }
    return record | changes


@dataclass
class Stage:
    """One job, as its script plays it."""

    id: str
    body: dict[str, Json]
    events: list[dict[str, Json]] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    forced: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a stream of the job lost its reader."""
    heartbeats: bool = True
    state: str = "queued"
    fields: dict[str, Json] = field(default_factory=dict)
    over: bool = False
    _sent: int = 0
    _cuts: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def emit(self, type_: str, *, numbered: bool = True, **data: Json) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event: dict[str, Json] = {"job_id": self.id, "type": type_, "at": at, **data}
        if numbered:
            event = {"id": 1 + sum("id" in earlier for earlier in self.events), **event}
        self.events.append(event)
        kind, _, what = type_.partition(".")
        if kind == "job" and what in {"queued", "starting", "running", "succeeded", "failed", "cancelled", "lost"}:
            self.state = what
        if type_ == "cancel.requested":
            self.state = "cancelling"
        self.over = self.over or self.state in {"succeeded", "failed", "cancelled", "lost", "timed_out"}
        self.fields |= {name: data[name] for name in ("result", "error", "cancellation") if name in data}
        self._wake()

    async def start(self) -> None:
        await self.emit("job.queued")
        await self.emit("job.starting")
        await self.emit("job.running", pid=4711)

    async def output(self, text: str, stream: str = "terminal") -> None:
        await self.emit("job.output", stream=stream, text=text)

    async def finish_cancelled(self, **changes: Json) -> None:
        record = cancellation(**changes)
        await self.emit("cancel.requested", reason=record["reason"], budget_s=record["budget_s"])
        await self.emit("cancel.acknowledged", ms=record["acknowledged_ms"])
        await self.emit("cancel.verified", **record)
        await self.emit("job.cancelled", cancellation=record)

    async def cut(self) -> None:
        """Break off the open stream of this job in the middle, once it has sent every event so far."""
        while self._sent < len(self.events):
            await asyncio.sleep(0.005)
        self._cuts += 1
        self._wake()

    async def stream(self, after: int) -> AsyncIterator[str]:
        cuts, position = self._cuts, 0
        try:
            while True:
                if self._cuts > cuts:
                    raise ConnectionAbortedError
                while position < len(self.events):
                    event = self.events[position]
                    position += 1
                    if event.get("id", after + 1) > after:
                        yield frame(event)
                    self._sent = position
                if self.over:
                    return
                changed = self._changed
                try:
                    await asyncio.wait_for(changed.wait(), 0.1)
                except TimeoutError:
                    if self.heartbeats:
                        yield ": hb\n"
        except (asyncio.CancelledError, GeneratorExit):
            self.left.set()
            raise

    def job(self) -> dict[str, Json]:
        blank = dict.fromkeys(("result", "error", "cancellation", "phase", "timeout_s", "finished_at"))
        return {
            **blank,
            "id": self.id,
            "task": self.body.get("task"),
            "input": self.body.get("input"),
            "labels": self.body.get("labels", {}),
            "state": self.state,
            "created_at": "2026-01-01T00:00:00.000Z",
            "started_at": "2026-01-01T00:00:01.000Z",
            "on_disconnect": "cancel",
            "containment": "subreaper",
            "resources": [],
            "leftovers": 0,
            "last_event_id": len(self.events),
            **self.fields,
        }

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def frame(event: dict[str, Json]) -> str:
    number = f"id: {event['id']}\n" if "id" in event else ""
    return f"{number}event: {event['type']}\ndata: {json.dumps(event)}\n\n"
