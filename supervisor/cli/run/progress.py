"""A job's state as far as its events have shown it. All views draw from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from deadstop.client.events import Event
from supervisor.cli import formatting

Json = Any

RECORDED_MS = {
    "acknowledged": "acknowledged_ms",
    "SIGTERM": "terminated_ms",
    "SIGKILL": "killed_ms",
    "gone": "gone_ms",
}
"""The ladder's steps, and the fields of the cancellation's record that have their times."""


@dataclass(slots=True)
class LadderStep:
    """One step of the ladder as it happened. `at_ms` counts from the detection of the cause."""

    name: str
    at_ms: float
    pids: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Cancellation:
    """A cancellation in progress, or done. `seen_at` is a time of our own monotonic clock, in seconds."""

    reason: str
    budget_s: float
    seen_at: float
    requested_at: datetime | None
    steps: list[LadderStep] = field(default_factory=list)
    survivors: list[dict[str, Json]] = field(default_factory=list)
    verified: bool = False


@dataclass(slots=True)
class JobProgress:
    """A job as far as its events have shown it. Times are those of our own monotonic clock, in seconds."""

    job_id: str
    task: str
    clock: Callable[[], float] = time.monotonic
    state: str = "submitting"
    phase: str | None = None
    pid: int | None = None
    began: float = field(init=False)
    reported: dict[str, Json] | None = None
    """The last `job.progress`."""
    held: list[tuple[str, str]] = field(default_factory=list)
    interrupts: int = 0
    """How often the user has asked to stop the job; shown before the server has answered."""
    last_id: int = 0
    missed: int = 0
    """How many events were numbered but did not reach us."""
    skip_to: int = 0
    """The number of an event; those before it need not be read any more. 0: all are read."""
    stop: Cancellation | None = None
    cancellation: dict[str, Json] | None = None
    end: Event | None = None

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the job started running, or since it was submitted if it has not started."""
        return self.clock() - self.began

    @property
    def proof(self) -> str | None:
        return str(self.cancellation.get("proof")) if self.cancellation else None

    def add(self, event: Event) -> None:
        """Update the state from one event. Types that this version does not know change nothing."""
        data = event.data
        if event.id is not None:
            self.missed += event.id - self.last_id - 1
            self.last_id = event.id
        match event.type:
            case "job.queued" | "job.starting":
                self.state = event.type.removeprefix("job.")
            case "job.running":
                self.state, self.pid, self.began = "running", data.get("pid"), self.clock()
                self.phase = None  # it was that of an import
            case "job.phase":
                self.phase = formatting.one_line(str(data.get("phase")))
            case "job.progress":
                self.reported = data
            case "job.resource":
                self._hold(data)
            case "cancel.requested" | "cancel.acknowledged" | "cancel.signalled" | "cancel.unproven":
                self._climb(event)
            case "cancel.verified":
                self._climb(event)
                self._verified(data)
            case _ if event.terminal:
                self._ended(event)

    def is_workspace(self, data: dict[str, Json]) -> bool:
        """Return whether a resource is the job's workspace. Every job has one, so it is not worth showing."""
        return data.get("kind") == "directory" and str(data.get("name")).endswith(f"/{self.job_id}")

    def _hold(self, data: dict[str, Json]) -> None:
        if self.is_workspace(data):
            return
        resource = (str(data.get("kind")), str(data.get("name")))
        if data.get("action") == "acquired":
            self.held.append(resource)
        elif resource in self.held:
            self.held.remove(resource)

    def _climb(self, event: Event) -> None:
        data = event.data
        self.state = "cancelling"
        if self.stop is None:
            self.stop = Cancellation(
                str(data.get("reason", "")), float(data.get("budget_s") or 2.0), self.clock(), event.at
            )
        match event.type:
            case "cancel.requested":
                self._step(event, "asked")
            case "cancel.acknowledged":
                self._step(event, "acknowledged")
            case "cancel.signalled":
                self._step(event, str(data.get("signal")))
            case "cancel.unproven":
                self.stop.survivors = list(data.get("survivors") or [])

    def _step(self, event: Event, name: str) -> None:
        """Add a step, or more processes to one that is there: a sweep sends its signal many times."""
        assert self.stop is not None
        step = next((step for step in self.stop.steps if step.name == name), None)
        if step is None:
            step = LadderStep(name, self._since_request_ms(event))
            self.stop.steps.append(step)
        pids = event.data.get("pids")
        step.pids.update(pids if isinstance(pids, list) else ())

    def _since_request_ms(self, event: Event) -> float:
        assert self.stop is not None
        ms = event.data.get("ms")
        if isinstance(ms, (int, float)):
            return float(ms)
        if event.at is None or self.stop.requested_at is None:
            return 0.0
        return max(0.0, (event.at - self.stop.requested_at).total_seconds() * 1000)

    def _verified(self, record: dict[str, Json]) -> None:
        """Take over the record's milliseconds. The guardian measured them; ours come from the times of events."""
        assert self.stop is not None
        self.stop.verified = True
        self.stop.survivors = []
        self.cancellation = record
        for name, key in RECORDED_MS.items():
            at_ms = record.get(key)
            if at_ms is None:
                continue
            step = next((step for step in self.stop.steps if step.name == name), None)
            if step is None:
                self.stop.steps.append(LadderStep(name, at_ms))
            else:
                step.at_ms = at_ms
        self.stop.steps.sort(key=lambda step: step.at_ms)

    def _ended(self, event: Event) -> None:
        self.state = event.type.removeprefix("job.")
        self.end = event
        self.held.clear()
        self.reported = None
        if isinstance(event.data.get("cancellation"), dict):
            self.cancellation = event.data["cancellation"]
