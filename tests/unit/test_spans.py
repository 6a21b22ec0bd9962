"""Events become spans: an unusual job as a collector sees it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from supervisor.core.jobs.event_log import Event
from supervisor.core.jobs.model import Cancellation, Job, JobRequest, Reason
from supervisor.core.jobs.trace import Trace
from supervisor.core.telemetry import span_export
from supervisor.core.telemetry.spans import Span, Spans
from supervisor.engine.containment import Level

ZERO = datetime(2026, 1, 1, tzinfo=UTC)


def job(*, sampled: bool = True, cancelled_at_s: float | None = None) -> Job:
    request = JobRequest("shell", {}, trace=Trace.begin(None, None, None, sampled=sampled))
    stop = None
    if cancelled_at_s is not None:
        stop = Cancellation(Reason.API, None, ZERO + timedelta(seconds=cancelled_at_s), force=False, budget_s=2.0)
    return Job("j", request, ZERO, Level.SUBREAPER, cancellation=stop)


def told(of: Job, *events: tuple[float, str, dict[str, Any]]) -> list[Span]:
    found: list[Span] = []
    spans = Spans(found.append)
    for number, (at_s, type_, fields) in enumerate(events, 1):
        at = (ZERO + timedelta(seconds=at_s)).isoformat()
        spans.event(of, Event(number, "j", type_, json.dumps({"at": at} | fields)))
    return found


def lasted(spans: list[Span]) -> list[tuple[str, float]]:
    return [(span.name, (span.end - span.begin).total_seconds()) for span in spans]


def test_phases_follow_each_other_without_gaps_and_the_job_is_last() -> None:
    spans = told(
        job(),
        (0, "job.queued", {}),
        (1, "job.starting", {}),
        (2, "job.running", {"pid": 7}),
        (2, "job.phase", {"phase": "llm"}),
        (5, "job.phase", {"phase": "tool", "detail": "x" * 1000}),
        (6, "job.output", {"text": "not looked at"}),
        (9, "job.succeeded", {"result": None}),
    )
    expected = [("queued", 1.0), ("starting", 1.0), ("running", 0.0), ("llm", 3.0), ("tool", 4.0), ("job shell", 9.0)]
    assert lasted(spans) == expected
    assert {span.parent_id for span in spans[:-1]} == {spans[-1].span_id}
    assert len(str(spans[4].attributes["deadstop.detail"])) == 200


def test_a_cancel_counts_from_its_detection_and_takes_what_the_task_does_meanwhile() -> None:
    spans = told(
        job(cancelled_at_s=3.0),
        (0, "job.queued", {}),
        (3.5, "cancel.requested", {"reason": "api", "budget_s": 2.0}),
        (3.6, "job.phase", {"phase": "cleanup"}),
        (4.2, "cancel.signalled", {"signal": "SIGTERM", "pids": [1, 2], "ms": 700.0}),
        (4.4, "cancel.unproven", {"survivors": [{"pid": 2}]}),
        (4.5, "cancel.verified", {"gone_ms": 1250.0, "proof": "echild"}),
        (4.6, "job.cancelled", {}),
    )
    assert lasted(spans) == [("queued", 3.0), ("cancel", 1.25), ("job shell", 4.6)]
    signalled, unproven = spans[1].marks
    assert (signalled.at, signalled.attributes["deadstop.pids"]) == (ZERO + timedelta(seconds=3.7), 2)
    assert unproven.attributes == {"deadstop.survivors": 1}


def test_a_lost_job_is_exported_by_the_server_that_found_it() -> None:
    (lost,) = told(job(), (60, "job.lost", {}))
    assert (lost.begin, lost.error, lost.attributes["deadstop.state"]) == (ZERO, "lost", "lost")


def test_one_that_is_stuck_for_days_does_not_fill_the_memory() -> None:
    hang = [(float(n), "job.stuck", {"rule": "no_event", "words": "silent"}) for n in range(1000)]
    (span,) = told(job(), *hang, (1001, "job.timed_out", {}))
    assert (len(span.marks), span.error) == (128, "timed_out")


def test_a_job_that_is_not_sampled_is_not_exported() -> None:
    assert told(job(sampled=False), (0, "job.queued", {}), (1, "job.lost", {})) == []


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_variables_that_switch_it_on(environment: dict[str, str], *, wanted: bool) -> None:
    assert span_export.wanted(environment) is wanted
