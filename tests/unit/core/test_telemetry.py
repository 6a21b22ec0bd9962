"""A job's life as operators see it, fed by an engine without processes: metrics and log lines."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from supervisor.core.jobs.model import Job, JobRequest
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.jobs.trace import Trace
from supervisor.core.streams.feed import Feed
from supervisor.core.supervisor import Supervisor
from supervisor.core.telemetry.loop_lag import WINDOW_S, LoopLag
from supervisor.core.telemetry.metrics import Metrics
from supervisor.engine.containment import Level, Survivor
from supervisor.engine.report import (
    Acknowledged,
    PhaseReport,
    ResourceReport,
    Signalled,
    TaskReported,
    Unproven,
)
from tests.support.core import begun, cancel, ended, running_on, started, submit, until
from tests.support.fake_engine import FakeAttempt, FakeEngine

pytestmark = pytest.mark.anyio


def value(supervisor: Supervisor, name: str, **labels: str) -> float | None:
    return supervisor.metrics.registry.get_sample_value(f"deadstop_{name}", labels)


async def in_a_terminal(supervisor: Supervisor, engine: FakeEngine) -> tuple[LiveJob, FakeAttempt]:
    record, attempt = await begun(supervisor, engine)
    attempt.report(PhaseReport("tool"), ResourceReport("acquired", "terminal", "pts/1"))
    return record, attempt


async def test_starts_ends_and_cancels_are_counted(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, max_running=1) as supervisor:
        for report in (TaskReported({"exit_code": 0}), None):
            record, attempt = await begun(supervisor, engine)
            if report is not None:
                attempt.report(report)
            attempt.prove()
            await ended(record)
        holder, attempt = await in_a_terminal(supervisor, engine)
        queued = submit(supervisor, "shell", command="x")
        assert value(supervisor, "jobs", state="running") == 1
        assert value(supervisor, "jobs", state="queued") == 1
        assert value(supervisor, "resources_open", kind="terminal") == 1
        cancel(supervisor, queued)
        cancel(supervisor, holder)
        cancel(supervisor, holder)
        attempt.prove(gone_ms=5.0)
        await ended(holder)
        last, attempt = await in_a_terminal(supervisor, engine)
        cancel(supervisor, last, force=True)
        attempt.report(Unproven((Survivor(7, "sleep", "zombie"),)))
        assert value(supervisor, "survivors") == 1
        attempt.prove(gone_ms=2500.0, killed_ms=1.0)
        await ended(last)

        for name, count in (("succeeded", 1), ("failed", 1), ("cancelled", 3)):
            assert value(supervisor, "jobs_finished_total", task="shell", state=name) == count
            assert value(supervisor, "jobs", state=name) == count
        assert value(supervisor, "job_start_seconds_count") == 4
        assert value(supervisor, "queue_wait_seconds_count") == 4
        assert value(supervisor, "cancel_requests_total", reason="api", phase="queued") == 1
        assert value(supervisor, "cancel_requests_total", reason="api", phase="tool") == 2
        assert value(supervisor, "cancellations_total", method="never_started", result="proven") == 1
        assert value(supervisor, "cancellations_total", method="cooperative", result="proven") == 1
        assert value(supervisor, "cancellations_total", method="sigkill", result="survivors") == 1
        assert value(supervisor, "cancel_duration_seconds_count") == 2
        assert value(supervisor, "cancel_duration_seconds_bucket", le="2.0") == 1
        assert value(supervisor, "resources_open", kind="terminal") == 0
        assert value(supervisor, "survivors") == 0


async def test_a_job_s_id_is_an_exemplar_and_never_a_label(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine, id="job-with-a-name")
        cancel(supervisor, record)
        attempt.prove(gone_ms=5.0)
        await ended(record)
        text = openmetrics(supervisor.metrics.registry).decode()  # type: ignore[no-untyped-call]
        exemplars = []
        for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
            for sample in family.samples:
                assert "job-with-a-name" not in sample.labels.values()
                if sample.exemplar is not None:
                    exemplars.append((sample.name, sample.exemplar.labels))
        assert exemplars == [("deadstop_cancel_duration_seconds_bucket", {"job_id": "job-with-a-name"})]


@pytest.mark.parametrize(("vanished", "cause"), [(False, "closed"), (True, "vanished")])
async def test_a_stream_that_leaves_is_counted_by_how_it_left(tmp_path: Path, vanished: bool, cause: str) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await in_a_terminal(supervisor, engine)
        supervisor.attach(record)
        supervisor.detach(record, vanished=vanished)
        attempt.prove(gone_ms=5.0)
        await ended(record)
        assert value(supervisor, "disconnect_detected_total", cause=cause) == 1
        assert value(supervisor, "cancel_requests_total", reason="client_disconnected", phase="tool") == 1
        # A stream that ends with its job has not left it.
        supervisor.attach(record)
        supervisor.detach(record)
        assert value(supervisor, "disconnect_detected_total", cause="closed") == (0 if vanished else 1)


async def test_a_loop_that_is_busy_shows(tmp_path: Path) -> None:
    async with running_on(FakeEngine(), tmp_path) as supervisor:
        await asyncio.sleep(0.15)  # the watch is in its own sleep now, whose end will be late
        time.sleep(0.4)
        await until(lambda: (value(supervisor, "event_loop_lag_seconds") or 0) >= 0.25)


def test_the_longest_lag_is_reported_until_its_window_has_passed() -> None:
    told: list[float] = []
    lag = LoopLag(told.append)
    lag.seen(0.0, 0.2)
    lag.seen(1.0, 0.9)
    lag.seen(2.0, 0.3)
    lag.seen(1.0 + WINDOW_S, 0.1)
    lag.seen(1.1 + WINDOW_S, 0.1)
    lag.seen(2.1 + WINDOW_S, 0.0)
    assert told == [0.2, 0.9, 0.9, 0.9, 0.3, 0.1]


def test_what_a_slow_reader_loses_is_counted() -> None:
    metrics = Metrics()
    feed = Feed(metrics.dropped, max_buffered=3)
    feed.subscribe()
    record = _record(feed)
    for _ in range(5):
        record.log.append("job.progress", {"done": 1})
    assert metrics.registry.get_sample_value("deadstop_events_dropped_total") == 2


def _record(feed: Feed) -> LiveJob:
    job = Job("j", JobRequest("shell", {}), datetime.now(UTC), Level.SUBREAPER)
    return LiveJob(job, partial(feed.publish, "t"), token="t")


# --- log lines


async def test_the_life_of_a_job_that_will_not_go_is_one_line_for_each_step(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        with capture_logs() as captured:
            record, attempt = await in_a_terminal(supervisor, engine)
            cancel(supervisor, record)
            cancel(supervisor, record)
            attempt.report(Acknowledged(1.0), Signalled("SIGTERM", {"pids": [77]}, 250.0))
            attempt.report(Signalled("SIGKILL", {"pids": [77]}, 1200.0))
            attempt.prove(gone_ms=1300.0)
            await ended(record)
        lines = [line for line in captured if line.get("job_id") == record.job.id]
        states = [(line["from_state"], line["state"]) for line in lines if line["event"] == "job_state"]
        assert states == [
            (None, "queued"),
            ("queued", "starting"),
            ("starting", "running"),
            ("running", "cancelling"),
            ("cancelling", "cancelled"),
        ]
        steps = [line for line in lines if line["event"].startswith("cancel_")]
        assert [line["event"] for line in steps][:3] == ["cancel_again", "cancel_acknowledged", "cancel_signalled"]
        signals = [line for line in steps if line["event"] == "cancel_signalled"]
        assert [line["signal"] for line in signals] == ["SIGTERM", "SIGKILL"]
        assert all(line["pids"] == [77] for line in signals)
        assert all(line["reason"] == "api" and line["phase"] is not None for line in steps)
        elapsed = [line["elapsed_ms"] for line in lines if "elapsed_ms" in line]
        assert elapsed == sorted(elapsed)
        assert elapsed[-1] > 0
        end = lines[-1]
        assert (end["method"], end["within_budget"], end["proof"]) == ("sigkill", True, "echild")


async def test_the_first_line_connects_the_job_with_its_request_and_trace(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        trace = Trace.begin("order-7", f"00-{'ab' * 16}-{'cd' * 8}-01", None)
        with capture_logs() as captured:
            submit(supervisor, "shell", command="true", trace=trace)
            attempt = await started(engine)
        first = next(line for line in captured if line["event"] == "job_state")
        assert (first["request_id"], first["trace_id"]) == ("order-7", "ab" * 16)
        assert attempt.order.environment["DEADSTOP_REQUEST_ID"] == "order-7"
        assert attempt.order.environment["TRACEPARENT"].startswith(f"00-{'ab' * 16}-")
