"""Convert a job's events to spans: the job, and below it its phases and its cancel with the steps of the ladder.

    job TASK                    below its caller's span, if there is one; `job.stuck` is an event in it
    ├─ queued, starting         the time in that state
    ├─ running, tool, llm …     the phases; `running` is the time before the first
    └─ cancel                   from detection to the proof; acknowledgement and signals are events in it

Spans are passed on when they have ended; the job's own is the last. The module has no side effects.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from supervisor.core.jobs.event_log import Event
from supervisor.core.jobs.model import TERMINAL_STATES, Job
from supervisor.core.jobs.trace import Trace

MAX_TEXT = 200
"""Limit for the characters of a text from the job."""
MAX_MARKS = 128
"""Limit for the events in one span. If a job is stuck again and again for days, the first ones are kept."""
_IN_STATE = {"job.queued": "queued", "job.starting": "starting", "job.running": "running"}
_ENDS = {f"job.{state}" for state in TERMINAL_STATES}
_FAILED = {"job.failed", "job.timed_out", "job.lost"}
_TOLD = frozenset({*_IN_STATE, *_ENDS, "job.phase", "job.stuck", "job.unstuck"})

Attributes = dict[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Mark:
    """An event inside a span."""

    name: str
    at: datetime
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Span:
    """A finished span. IDs are hexadecimal, as in W3C Trace Context. `error` says why the job failed, if it did."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    begin: datetime
    end: datetime
    attributes: Attributes
    marks: tuple[Mark, ...] = ()
    error: str | None = None


@dataclass(slots=True)
class _Open:
    """A span that has not ended."""

    name: str
    begin: datetime
    attributes: Attributes = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)

    def mark(self, name: str, at: datetime, attributes: Attributes) -> None:
        if len(self.marks) < MAX_MARKS:
            self.marks.append(Mark(name, at, attributes))


@dataclass(slots=True)
class _Life:
    trace: Trace
    job: _Open
    phase: _Open | None = None
    cancel: _Open | None = None


class Spans:
    """Follows the events of all jobs in order, and passes each span to `tell` once it has ended."""

    def __init__(self, tell: Callable[[Span], None]) -> None:
        self._tell = tell
        self._lives: dict[str, _Life] = {}

    def event(self, job: Job, event: Event) -> None:
        """Process one released event; `job` is the job as it is by now. Unsampled jobs are ignored."""
        cancels = event.type.startswith("cancel.")
        trace = job.request.trace
        if (event.type not in _TOLD and not cancels) or trace is None or not trace.sampled:
            return
        fields = json.loads(event.data)
        at = datetime.fromisoformat(fields["at"])
        life = self._lives.get(event.job_id)
        if life is None:
            # The job is `lost`, or was queued when an earlier server stopped: that server's observations are unknown.
            began = _Open(f"job {job.request.task}", job.created_at, _about(job))
            life = self._lives[event.job_id] = _Life(trace, began)
        if cancels:
            self._cancel(life, event.type, job.cancellation.requested_at if job.cancellation else at, fields)
        elif event.type in {"job.stuck", "job.unstuck"}:
            life.job.mark(event.type, at, _plain(fields, "rule", "words"))
        elif event.type in _ENDS:
            del self._lives[event.job_id]
            self._end(life, event.type, at, fields)
        elif life.cancel is None:  # phases during a cancel belong to the cancel
            self._phase(life, at, _IN_STATE.get(event.type) or str(fields["phase"]), fields)

    def _phase(self, life: _Life, at: datetime, name: str, fields: Mapping[str, Any]) -> None:
        self._close(life, life.phase, at)
        life.phase = _Open(name, at, _plain(fields, "detail", "pid"))

    def _cancel(self, life: _Life, type_: str, detected: datetime, fields: Mapping[str, Any]) -> None:
        """Process a step of a cancel. The guardian's own times are more exact than the arrival of its reports."""
        if type_ == "cancel.requested":
            self._close(life, life.phase, detected)
            life.phase = None
            life.cancel = _Open("cancel", detected, _plain(fields, "reason", "budget_s"))
        elif type_ == "cancel.verified" and life.cancel is not None:
            life.cancel.attributes |= _plain(
                fields, "detail", "force", "method", "proof", "gone_ms", "processes_seen", "within_budget"
            )
            self._close(life, life.cancel, detected + timedelta(milliseconds=fields["gone_ms"] or 0.0))
            life.cancel = None
        elif life.cancel is not None:
            told = datetime.fromisoformat(fields["at"])
            at = detected + timedelta(milliseconds=fields["ms"]) if "ms" in fields else told
            counted = {name: len(fields[name]) for name in ("pids", "survivors") if name in fields}
            life.cancel.mark(type_, at, _plain(fields, "signal", "ms") | _named(counted))

    def _end(self, life: _Life, type_: str, at: datetime, fields: Mapping[str, Any]) -> None:
        self._close(life, life.phase, at)
        self._close(life, life.cancel, at)
        state = type_.removeprefix("job.")
        error = fields.get("error") or {}
        life.job.attributes |= _named({"state": state}) | _plain(error, "kind", "exit_code", "signal")
        failed = str(error.get("message") or state)[:MAX_TEXT] if type_ in _FAILED else None
        trace = life.trace
        self._tell(self._span(life, life.job, at, trace.span_id, trace.parent_id, failed))

    def _close(self, life: _Life, part: _Open | None, at: datetime) -> None:
        if part is not None:
            self._tell(self._span(life, part, at, secrets.token_hex(8), life.trace.span_id, None))

    def _span(
        self, life: _Life, part: _Open, end: datetime, span_id: str, parent_id: str | None, error: str | None
    ) -> Span:
        marks = tuple(part.marks)
        return Span(part.name, life.trace.trace_id, span_id, parent_id, part.begin, end, part.attributes, marks, error)


def _about(job: Job) -> Attributes:
    trace = job.request.trace
    told: Attributes = {"job_id": job.id, "task": job.request.task, "containment": str(job.containment)}
    if trace is not None:
        told["request_id"] = trace.request_id
    labels: Attributes = {f"label.{key}": value for key, value in job.request.labels.items()}
    return _named(told | labels)


def _plain(fields: Mapping[str, Any], *names: str) -> Attributes:
    """Return the named fields that are present, with long texts shortened."""
    found = {name: fields[name] for name in names if fields.get(name) is not None}
    return _named({name: value[:MAX_TEXT] if isinstance(value, str) else value for name, value in found.items()})


def _named(attributes: Mapping[str, str | int | float | bool]) -> Attributes:
    return {f"deadstop.{name}": value for name, value in attributes.items()}
