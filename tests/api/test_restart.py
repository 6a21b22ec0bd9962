"""Effects of a restart on jobs, streams and names, both after an orderly stop and after kill -9."""

from __future__ import annotations

import json
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.api.raw_stream import PATIENCE_S
from tests.api.restarts import body, end, events_of, one_at_a_time, read_on, types
from tests.api.wire import real_server


@pytest.fixture(params=[signal.SIGTERM, signal.SIGKILL], ids=["orderly", "killed"])
def how(request: pytest.FixtureRequest) -> signal.Signals:
    how: signal.Signals = request.param
    return how


def check_clean(state: Path) -> None:
    with sqlite3.connect(state / "journal.sqlite3") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        holes = "SELECT count(*) FROM events AS a WHERE first > 1 AND NOT EXISTS "
        holes += "(SELECT 1 FROM events AS b WHERE b.seq = a.seq AND b.last = a.first - 1)"
        assert connection.execute(holes).fetchone() == (0,)
    connection.close()


def test_running_jobs_end_and_queued_ones_run_after_the_next_start(tmp_path: Path, how: signal.Signals) -> None:
    state = tmp_path / "state"
    with one_at_a_time(state) as server:
        names = [server.run(f"echo {name}", id=name, labels={"n": name}) for name in ("b", "c")]
        end(server, how)
    with real_server(state, MAX_RUNNING="1") as server:
        first = events_of(server, "first")
        job = server.job("first")
        if how is signal.SIGKILL:
            assert first[-1].keys() == {"id", "job_id", "type", "at", "error"}
            assert (job["state"], first[-1]["type"], job["cancellation"]) == ("lost", "job.lost", None)
            assert first[-1]["error"] == job["error"]
            assert (job["error"]["kind"], job["error"]["proof"]) in {("lost", "echild"), ("lost", "cgroup_empty")}
            assert job["started_at"] < job["finished_at"] < first[-1]["at"]
        else:
            assert (job["state"], job["cancellation"]["reason"]) == ("cancelled", "shutdown")
            assert job["cancellation"]["within_budget"] is True
        for name in names:
            events = events_of(server, name)
            assert types(events)[:2] == ["job.queued", "job.starting"]
            assert events[-1]["type"] == "job.succeeded"
        starts = [server.job(name)["started_at"] for name in names]
        assert starts == sorted(starts)
    check_clean(state)


def test_a_stream_goes_on_where_it_was_without_gap_or_repeat(tmp_path: Path, how: signal.Signals) -> None:
    state = tmp_path / "state"
    talk = "i=0; while :; do i=$((i+1)); echo line $i; done"
    with real_server(state) as server:
        server.run(talk, id="talk")
        with server.stream("GET", "/jobs/talk/events") as stream:
            stream._until(lambda: len(stream.text) > 300_000)
            server.process.send_signal(how)
            seen = read_on(stream)
        server.process.wait(PATIENCE_S)
    assert [event["id"] for event in seen] == list(range(1, len(seen) + 1))
    with real_server(state) as server:
        with server.stream("GET", "/jobs/talk/events", None, f"Last-Event-ID: {len(seen)}") as stream:
            if stream.status == 204:
                assert how is signal.SIGTERM
                rest = []
            else:
                stream.read_to_end()
                rest = stream.events()
        whole = seen + rest
        assert [event["id"] for event in whole] == list(range(1, len(whole) + 1))
        assert whole[-1]["type"] == ("job.lost" if how is signal.SIGKILL else "job.cancelled")
        # The kept events are those that a client received, byte for byte.
        kept: list[dict[str, Any]] = []
        while page := server.ask("GET", f"/jobs/talk/events?follow=false&after={len(kept)}").json["events"]:
            kept += page
        assert kept == whole
        with server.stream("GET", f"/jobs/talk/events?after={len(whole)}") as stream:
            assert stream.status == 204
    check_clean(state)


def test_finished_jobs_stay_visible(tmp_path: Path, how: signal.Signals) -> None:
    state = tmp_path / "state"
    with real_server(state) as server:
        for number in range(5):
            ok = "true" if number % 2 else "exit 3"
            server.run(f"echo {number}; {ok}", id=f"job-{number}", labels={"odd": str(number % 2)})
            server.ended(f"job-{number}")
        before = server.ask("GET", "/jobs").json["jobs"]
        page = server.ask("GET", "/jobs?limit=2").json
        told = events_of(server, "job-3")
        end(server, how)
    with real_server(state) as server:
        assert server.ask("GET", "/jobs").json["jobs"] == before
        assert server.job("job-0") == before[-1]
        assert events_of(server, "job-3") == told
        failed = server.ask("GET", "/jobs?state=failed").json["jobs"]
        assert [job["id"] for job in failed] == ["job-4", "job-2", "job-0"]
        odd = server.ask("GET", "/jobs?label=odd:1&state=succeeded").json["jobs"]
        assert [job["id"] for job in odd] == ["job-3", "job-1"]
        new = server.run("true", id="new")
        server.ended(new)
        # A cursor of the old server continues where it was, whatever jobs were added since.
        rest = server.ask("GET", f"/jobs?cursor={page['next_cursor']}").json
        assert [job["id"] for job in rest["jobs"]] == ["job-2", "job-1", "job-0"]
        assert rest["next_cursor"] is None
        assert [job["id"] for job in server.ask("GET", "/jobs?limit=2").json["jobs"]] == ["new", "job-4"]
        assert server.ask("GET", "/health").json["counts"]["failed"] == 3
        assert server.ask("DELETE", "/jobs/job-0").status == 204
        assert server.ask("GET", "/jobs/job-0").status == 404
        end(server, how)
    with real_server(state) as server:
        assert server.ask("GET", "/jobs/job-0").status == 404
        assert len(server.ask("GET", "/jobs").json["jobs"]) == 5


def test_names_mean_the_same_after_a_restart(tmp_path: Path, how: signal.Signals) -> None:
    state = tmp_path / "state"
    tokens = json.dumps({"anna": {"token": "a" * 32, "scopes": ["submit", "read"]}})
    anna = {"Authorization": f"Bearer {'a' * 32}"}
    key = {"Idempotency-Key": "once"}
    with real_server(state, TOKENS=tokens) as server:
        made = server.ask("POST", "/jobs", body("echo hi"), headers=key)
        job_id = made.json["id"]
        server.ended(job_id)
        assert server.ask("POST", "/jobs", body("true", id="annas"), headers=anna, token=False).status == 202
        server.ended("annas")
        early = server.ask("POST", "/jobs/overtaken/cancel", {"reason": "changed my mind"})
        assert early.json["state"] == "unknown"
        end(server, how)
    with real_server(state, TOKENS=tokens) as server:
        again = server.ask("POST", "/jobs", body("echo hi"), headers=key)
        assert (again.status, again.json["id"], again.json["state"]) == (200, job_id, "succeeded")
        assert server.ask("POST", "/jobs", body("echo ho"), headers=key).status == 409
        with server.stream("POST", "/execute/stream", body("echo hi", id=job_id)) as stream:
            stream.read_to_end()
        assert types(stream.events())[0] == "job.queued"
        assert types(stream.events())[-1] == "job.succeeded"
        assert server.ask("GET", f"/jobs/{job_id}", headers=anna, token=False).status == 404
        assert [job["id"] for job in server.ask("GET", "/jobs", headers=anna, token=False).json["jobs"]] == ["annas"]
        # A cancel that came before the restart still overtakes its job.
        late = server.ask("POST", "/jobs", body("sleep 60", id="overtaken"))
        assert (late.status, late.json["state"]) == (202, "cancelled")
        assert late.json["cancellation"]["method"] == "never_started"
        assert late.json["cancellation"]["detail"] == "changed my mind"


def test_a_job_that_is_restarted_twice_is_still_the_same(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with one_at_a_time(state) as server:
        server.run("echo at last", id="patient")
        end(server, signal.SIGKILL)
    with real_server(state, MAX_RUNNING="1") as server:
        # "first" is lost, so "patient" runs unless the server dies at once; both are allowed here.
        end(server, signal.SIGKILL)
    with real_server(state) as server:
        events = events_of(server, "patient")
        assert [event["id"] for event in events] == list(range(1, len(events) + 1))
        assert events[-1]["type"] in {"job.succeeded", "job.lost"}
    check_clean(state)
