"""Metrics as Prometheus reads them: both formats, every name of the contract, and the number of open streams."""

from __future__ import annotations

import re

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from tests.api.wire import AnyServer

CONTRACT = {
    "deadstop_jobs",
    "deadstop_jobs_finished_total",
    "deadstop_job_start_seconds_bucket",
    "deadstop_queue_wait_seconds_bucket",
    "deadstop_cancel_requests_total",
    "deadstop_cancellations_total",
    "deadstop_cancel_duration_seconds_bucket",
    "deadstop_disconnect_detected_total",
    "deadstop_orphans_found_total",
    "deadstop_survivors",
    "deadstop_resources_open",
    "deadstop_stuck_jobs",
    "deadstop_streams",
    "deadstop_events_dropped_total",
    "deadstop_event_loop_lag_seconds",
    "deadstop_warm_guardians",
}


@pytest.fixture(scope="module")
def server(faked: AnyServer) -> AnyServer:
    return faked


def test_each_asks_for_its_format_and_gets_every_name(server: AnyServer) -> None:
    job = server.run("echo up; sleep 60", id="not-in-a-label")
    with server.stream("GET", f"/jobs/{job}/events") as stream:
        stream.until('"text": "up')
    server.ask("POST", f"/jobs/{job}/cancel?wait=10")
    plain = server.ask("GET", "/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    samples = [s for family in plain_text(plain.body.decode()) for s in family.samples]
    assert {sample.name for sample in samples} >= CONTRACT
    assert job not in plain.body.decode()
    rich = server.ask("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert rich.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = list(open_metrics(rich.body.decode()))  # type: ignore[no-untyped-call]
    exemplars = [s.exemplar.labels for family in families for s in family.samples if s.exemplar is not None]
    assert {"job_id": job} in exemplars
    assert not [s for family in families for s in family.samples if job in s.labels.values()]


def test_a_stream_is_counted_while_it_is_open(server: AnyServer) -> None:
    before = _streams(server)
    with server.stream("GET", "/events") as stream:
        assert stream.status == 200
        assert _streams(server) == before + 1


def _streams(server: AnyServer) -> float:
    found = re.search(r"^deadstop_streams (\S+)$", server.ask("GET", "/metrics").body.decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])
