"""Jobs as OpenTelemetry spans, as a collector gets them from a real server."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk")

from tests.support.client import EventStream
from tests.support.collector import Collector, collector, plain
from tests.support.server import RunningServer, running_server

STUBBORN = "trap '' TERM HUP; echo $TRACEPARENT; while :; do sleep 30 & sleep 30; done"
CALLER, CALLER_SPAN = "4b" * 16, "c3" * 8
OK, ERROR = 0, 2


@pytest.fixture(scope="module")
def told() -> Iterator[Collector]:
    with collector() as made:
        yield made


@pytest.fixture(scope="module")
def server(short_dir: Path, told: Collector) -> Iterator[RunningServer]:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": told.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with running_server(short_dir / "spans", env=env) as running:
        yield running


def submit(server: RunningServer, command: str, **headers: str) -> str:
    body = {"task": "shell", "input": {"command": command, "terminal": False}, "labels": {"team": "data"}}
    answer = server.http.post("/jobs", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_a_stop_with_its_signals_in_the_caller_s_trace(server: RunningServer, told: Collector) -> None:
    job_id = submit(server, STUBBORN, traceparent=f"00-{CALLER}-{CALLER_SPAN}-01")
    with EventStream(server.url, server.token, method="GET", path=f"/jobs/{job_id}/events") as stream:
        seen_by_job = stream.until(lambda event: event.type == "job.output").data["text"].strip()
    server.http.post(f"/jobs/{job_id}/cancel", json={"reason": "enough"})
    record = server.wait_finished(job_id)["cancellation"]
    spans = told.trace_of(job_id)
    job = spans["job shell"]
    assert (job.trace_id.hex(), job.parent_span_id.hex()) == (CALLER, CALLER_SPAN)
    assert seen_by_job == f"00-{CALLER}-{job.span_id.hex()}-01"
    assert {span.parent_span_id for name, span in spans.items() if name != "job shell"} == {job.span_id}
    assert set(spans) >= {"job shell", "queued", "starting", "tool", "cancel"}
    about = plain(job.attributes)
    assert (about["deadstop.state"], about["deadstop.label.team"]) == ("cancelled", "data")
    assert job.status.code == OK
    cancel = spans["cancel"]
    assert next(mark.name for mark in cancel.events) == "cancel.acknowledged"
    signals = [plain(mark.attributes) for mark in cancel.events if mark.name == "cancel.signalled"]
    # The runner alone: its command had SIGTERM when it was asked. Then the runner, the shell and both of its children.
    assert [(mark["deadstop.signal"], mark["deadstop.pids"]) for mark in signals] == [("SIGTERM", 1), ("SIGKILL", 4)]
    stopped = plain(cancel.attributes)
    assert (stopped["deadstop.method"], stopped["deadstop.detail"]) == ("sigkill", "enough")
    took_ms = (cancel.end_time_unix_nano - cancel.start_time_unix_nano) / 1e6
    assert took_ms == pytest.approx(record["gone_ms"], abs=0.1)
    killed = next(mark for mark in cancel.events if plain(mark.attributes).get("deadstop.signal") == "SIGKILL")
    assert (killed.time_unix_nano - cancel.start_time_unix_nano) / 1e6 == pytest.approx(record["killed_ms"], abs=0.1)


def test_a_failure_says_why_and_without_a_caller_begins_a_trace(server: RunningServer, told: Collector) -> None:
    job_id = submit(server, "exit 3")
    server.wait_finished(job_id)
    job = told.trace_of(job_id)["job shell"]
    assert job.parent_span_id == b""
    assert (job.status.code, job.status.message) == (ERROR, "the command ended with exit code 3")
    assert plain(job.attributes)["deadstop.exit_code"] == 3
    assert told.resources[-1]["service.name"] == "deadstop"


def test_who_does_not_want_to_be_sampled_is_not(server: RunningServer, told: Collector) -> None:
    quiet = submit(server, "true", traceparent=f"00-{'5c' * 16}-{CALLER_SPAN}-00")
    server.wait_finished(quiet)
    later = submit(server, "true")
    told.trace_of(later)
    assert "5c" * 16 not in {span.trace_id.hex() for span in told.spans}


def test_a_collector_that_does_not_answer_holds_up_nothing(short_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        env = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{deaf.getsockname()[1]}/v1/traces"}
        with running_server(short_dir / "deaf", env=env) as server:
            job_id = submit(server, "sleep 60")
            server.http.post(f"/jobs/{job_id}/cancel?wait=10")
            began = time.monotonic()
        assert time.monotonic() - began < 4
