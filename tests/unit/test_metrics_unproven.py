"""Survivors and late ends, which a test cannot produce with real processes on every machine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from supervisor.core.jobs import machine
from supervisor.core.jobs.inputs import Bound, CancelRequested, Input
from supervisor.core.jobs.model import Cause, Job, JobRequest, Reason
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.telemetry.metrics import Metrics, gauges_of_jobs
from supervisor.engine.containment import Level, Proof, Survivor
from supervisor.engine.report import Ended, JobError, Unproven

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CANCEL = CancelRequested(Cause(Reason.TIMEOUT, 0.0, NOW), 2.0)
GONE = Ended(Proof.ECHILD, JobError("guardian", "-"), killed_ms=1200.0, gone_ms=1300.0)
LEFT = Unproven((Survivor(7, "stuck", "disk-sleep"), Survivor(8, "stuck", "disk-sleep")))


def run(*facts: Input) -> tuple[Metrics, LiveJob]:
    metrics = Metrics()
    record = LiveJob(Job("j", JobRequest("t", {}), NOW, Level.SUBREAPER), lambda _: None, token="t")
    for fact in facts:
        before = record.job
        record.life, _ = machine.step(record.life, fact, NOW)
        metrics.fact(record, before, fact)
    return metrics, record


def counted(metrics: Metrics, **labels: str) -> float | None:
    return metrics.registry.get_sample_value("deadstop_cancellations_total", labels)


def test_a_stop_in_time_is_proven() -> None:
    metrics, _ = run(Bound(), CANCEL, GONE)
    assert counted(metrics, method="sigkill", result="proven") == 1


def test_a_stop_past_its_budget_is_late() -> None:
    metrics, _ = run(Bound(), CANCEL, replace(GONE, gone_ms=2100.0))
    assert counted(metrics, method="sigkill", result="late") == 1
    assert metrics.registry.get_sample_value("deadstop_cancel_duration_seconds_bucket", {"le": "2.0"}) == 0
    assert metrics.registry.get_sample_value("deadstop_cancel_duration_seconds_bucket", {"le": "2.5"}) == 1


def test_survivors_count_once_when_they_are_named_and_are_shown_while_they_are_there() -> None:
    metrics, record = run(Bound(), CANCEL, LEFT, LEFT)
    assert counted(metrics, method="sigkill", result="survivors") == 1
    gauges = {family.name: family.samples[0].value for family in gauges_of_jobs([record])}
    assert gauges["deadstop_survivors"] == 2
    metrics, record = run(Bound(), CANCEL, LEFT, replace(GONE, gone_ms=9000.0))
    assert counted(metrics, method="sigkill", result="survivors") == 1
    assert counted(metrics, method="sigkill", result="late") is None
    gauges = {family.name: family.samples[0].value for family in gauges_of_jobs([record])}
    assert gauges["deadstop_survivors"] == 0
