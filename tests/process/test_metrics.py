"""Every metric is fed by what really happens."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.streams.feed import Feed
from supervisor.core.supervisor import Supervisor
from supervisor.core.telemetry.loop_lag import WINDOW_S, LoopLag
from supervisor.core.telemetry.metrics import Metrics
from tests.support.attempts import guardian_pid
from tests.support.core import cancel, ended, reaches, running, says, scenario, submit, until

SLEEP = "echo UP; sleep 60"
STUBBORN = "trap '' TERM; echo UP; while :; do sleep 1; done"


def value(supervisor: Supervisor, name: str, **labels: str) -> float | None:
    return supervisor.metrics.registry.get_sample_value(f"deadstop_{name}", labels)


def test_starts_ends_and_cancels(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, max_running=1) as supervisor:
            await ended(submit(supervisor, "shell", command="true"))
            await ended(submit(supervisor, "shell", command="false"))
            holder = submit(supervisor, "shell", command=SLEEP)
            queued = submit(supervisor, "shell", command=SLEEP)
            await says(holder, "UP")
            assert value(supervisor, "jobs", state="running") == 1
            assert value(supervisor, "jobs", state="queued") == 1
            assert value(supervisor, "resources_open", kind="terminal") == 1
            cancel(supervisor, queued)
            cancel(supervisor, holder)
            cancel(supervisor, holder)
            await ended(holder)
            last = submit(supervisor, "shell", command=STUBBORN)
            await says(last, "UP")
            cancel(supervisor, last, force=True)
            await ended(last)

            for state, count in (("succeeded", 1), ("failed", 1), ("cancelled", 3)):
                assert value(supervisor, "jobs_finished_total", task="shell", state=state) == count
                assert value(supervisor, "jobs", state=state) == count
            assert value(supervisor, "job_start_seconds_count") == 4
            assert value(supervisor, "queue_wait_seconds_count") == 4
            assert value(supervisor, "cancel_requests_total", reason="api", phase="queued") == 1
            assert value(supervisor, "cancel_requests_total", reason="api", phase=_phase(holder)) == 2
            assert value(supervisor, "cancellations_total", method="never_started", result="proven") == 1
            assert value(supervisor, "cancellations_total", method="sigkill", result="proven") == 1
            assert value(supervisor, "cancel_duration_seconds_count") == 2
            assert value(supervisor, "cancel_duration_seconds_bucket", le="2.0") == 2
            assert value(supervisor, "resources_open", kind="terminal") == 0
            await until(lambda: value(supervisor, "warm_guardians") == 2)

    scenario(body)


def _phase(_: LiveJob) -> str:
    return "tool"  # what the shell task says it does


def test_a_job_s_id_is_an_exemplar_and_never_a_label(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            record = submit(supervisor, "shell", id="job-with-a-name", command=SLEEP)
            await says(record, "UP")
            cancel(supervisor, record)
            await ended(record)
            text = openmetrics(supervisor.metrics.registry).decode()  # type: ignore[no-untyped-call]
            exemplars = []
            for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
                for sample in family.samples:
                    assert "job-with-a-name" not in sample.labels.values()
                    if sample.exemplar is not None:
                        exemplars.append((sample.name, sample.exemplar.labels))
            assert exemplars == [("deadstop_cancel_duration_seconds_bucket", {"job_id": "job-with-a-name"})]

    scenario(body)


def test_what_a_task_or_a_dead_guardian_leaves_behind_is_counted(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            await ended(submit(supervisor, "shell", command="setsid sleep 60 & sleep 0.1"))
            assert value(supervisor, "orphans_found_total") == 1
            record = submit(supervisor, "shell", command=SLEEP)
            await says(record, "UP")
            assert guardian_pid(record)
            os.kill(guardian_pid(record), signal.SIGKILL)
            await ended(record)
            assert (value(supervisor, "orphans_found_total") or 0) >= 2

    scenario(body)


@pytest.mark.parametrize(("vanished", "cause"), [(False, "closed"), (True, "vanished")])
def test_a_stream_that_leaves_is_counted_by_how_it_left(tmp_path: Path, vanished: bool, cause: str) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            record = submit(supervisor, "shell", command=SLEEP)
            await reaches(record, lambda job: job.state is State.RUNNING)
            supervisor.attach(record)
            supervisor.detach(record, vanished=vanished)
            await ended(record)
            assert value(supervisor, "disconnect_detected_total", cause=cause) == 1
            reason = {"reason": "client_disconnected", "phase": _phase(record)}
            starting = {"reason": "client_disconnected", "phase": "running"}
            counts = [value(supervisor, "cancel_requests_total", **labels) for labels in (reason, starting)]
            assert [count for count in counts if count] == [1]
            # A stream that ends with its job has not left it.
            supervisor.attach(record)
            supervisor.detach(record)
            assert value(supervisor, "disconnect_detected_total", cause="closed") == (0 if vanished else 1)

    scenario(body)


def test_stuck_jobs_have_their_rule(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, stuck_no_event_s=0.3) as supervisor:
            record = submit(supervisor, "shell", command=SLEEP)
            await until(lambda: value(supervisor, "stuck_jobs", rule="no_event") == 1)
            assert value(supervisor, "stuck_jobs", rule="no_heartbeat") == 0
            cancel(supervisor, record)
            await ended(record)
            assert value(supervisor, "stuck_jobs", rule="no_event") == 0

    scenario(body)


def test_a_loop_that_is_busy_shows(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            await asyncio.sleep(0.15)  # the watch is in its own sleep now, whose end will be late
            time.sleep(0.4)
            await until(lambda: (value(supervisor, "event_loop_lag_seconds") or 0) >= 0.25)

    scenario(body)


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


def test_what_a_slow_reader_loses_is_counted(tmp_path: Path) -> None:
    async def body() -> None:
        metrics = Metrics()
        feed = Feed(metrics.dropped, max_buffered=3)
        feed.subscribe()
        record = _record(feed)
        for _ in range(5):
            record.log.append("job.progress", {"done": 1})
        assert metrics.registry.get_sample_value("deadstop_events_dropped_total") == 2

    scenario(body)


def _record(feed: Feed) -> LiveJob:
    from datetime import UTC, datetime
    from functools import partial

    from supervisor.core.jobs.model import Job, JobRequest
    from supervisor.engine.containment import Level

    job = Job("j", JobRequest("shell", {}), datetime.now(UTC), Level.SUBREAPER)
    return LiveJob(job, partial(feed.publish, "t"), token="t")
