"""Jobs over HTTP: create, attach, list, show, cancel, delete."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from tests.api.in_process import in_process_server
from tests.api.wire import AnyServer

FIELDS = {
    "id", "task", "input", "state", "phase", "labels", "created_at", "started_at", "finished_at", "timeout_s",
    "on_disconnect", "result", "error", "cancellation", "leftovers", "resources", "limits", "containment",
    "last_event_id", "stuck",
}  # fmt: skip
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def server(faked: AnyServer) -> AnyServer:
    return faked


def body(command: str = "true", **more: Any) -> dict[str, Any]:
    return {"task": "shell", "input": {"command": command}, **more}


def test_create_answers_with_the_whole_job(server: AnyServer) -> None:
    reply = server.ask("POST", "/jobs", body(id="whole", labels={"team": "a"}, timeout_s=9))
    assert reply.status == 202
    assert reply.headers["location"] == "/jobs/whole"
    job = reply.json
    assert set(job) == FIELDS
    assert TIMESTAMP.fullmatch(job["created_at"])
    assert (job["state"], job["task"], job["labels"], job["timeout_s"]) == ("queued", "shell", {"team": "a"}, 9)
    assert job["result"] is job["error"] is job["cancellation"] is job["finished_at"] is job["limits"] is None
    done = server.ended("whole")
    assert set(done) == FIELDS
    assert (done["state"], done["result"], done["containment"]) == ("succeeded", {"exit_code": 0}, "subreaper")
    assert TIMESTAMP.fullmatch(done["started_at"])
    assert TIMESTAMP.fullmatch(done["finished_at"])


def test_a_failure_has_every_field(server: AnyServer) -> None:
    error = server.ended(server.run("exit 3"))["error"]
    assert set(error) == {"kind", "message", "exit_code", "signal", "traceback", "proof"}
    assert (error["kind"], error["exit_code"], error["signal"]) == ("exited", 3, None)


def test_the_same_body_attaches_and_another_conflicts(server: AnyServer) -> None:
    first = server.ask("POST", "/jobs", body(id="again"))
    assert first.status == 202
    second = server.ask("POST", "/jobs", body(id="again"))
    assert (second.status, second.headers["location"]) == (200, "/jobs/again")
    other = server.ask("POST", "/jobs", body("false", id="again"))
    assert (other.status, other.problem) == (409, "conflict")
    server.ended("again")


def test_idempotency_keys(server: AnyServer) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = server.ask("POST", "/jobs", body(), headers=key)
    again = server.ask("POST", "/jobs", body(), headers=key)
    assert (first.status, again.status, again.json["id"]) == (202, 200, first.json["id"])
    assert server.ask("POST", "/jobs", body("false"), headers=key).status == 409
    assert server.ask("POST", "/jobs", body(id="elsewhere"), headers=key).status == 409
    server.ended(first.json["id"])


def test_unknown_and_malformed_ids(server: AnyServer) -> None:
    for method, path in [("GET", ""), ("GET", "/events"), ("GET", "/processes"), ("GET", "/stack"), ("DELETE", "")]:
        assert server.ask(method, f"/jobs/nobody{path}").problem == "not-found"
        for bad in ("a%20b", "x" * 65, "%C3%A4", "a%0A"):
            assert server.ask(method, f"/jobs/{bad}{path}").fields == ["id"]
    assert server.ask("POST", "/jobs/a%20b/cancel").fields == ["id"]


def test_head_is_get_without_a_body_and_starts_nothing(server: AnyServer) -> None:
    server.ended(server.run("true", id="headed"))
    for path in ("/jobs/headed", "/jobs", "/health", "/jobs/headed/events?follow=false"):
        reply = server.ask("HEAD", path)
        assert (reply.status, reply.body) == (200, b"")
    assert server.ask("HEAD", "/execute/stream").status == 405


def test_cancel_without_waiting_says_cancelling(server: AnyServer) -> None:
    job_id = server.run("trap '' TERM; echo set; sleep 60")
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "set')
        reply = server.ask("POST", f"/jobs/{job_id}/cancel")
        assert (reply.status, reply.json["state"]) == (202, "cancelling")
        forced = server.ask("POST", f"/jobs/{job_id}/cancel", {"force": True})
        assert forced.status in {200, 202}
        stream.read_to_end()
    job = server.job(job_id)
    assert (job["state"], job["cancellation"]["method"], job["cancellation"]["force"]) == ("cancelled", "sigkill", True)


def test_cancel_of_an_unknown_id_is_kept(server: AnyServer) -> None:
    reply = server.ask("POST", "/jobs/early/cancel", {"reason": "overtook"})
    assert (reply.status, reply.json) == (202, {"id": "early", "state": "unknown", "kept_for_s": 30})
    created = server.ask("POST", "/jobs", body(id="early"))
    assert created.status == 202
    job = server.ended("early")
    assert (job["state"], job["cancellation"]["method"]) == ("cancelled", "never_started")
    assert job["cancellation"]["detail"] == "overtook"


@pytest.mark.parametrize("wait", ["-1", "31", "nan", "inf", "x", ""])
def test_wrong_waits(server: AnyServer, wait: str) -> None:
    assert server.ask("POST", f"/jobs/nobody/cancel?wait={wait}").fields == ["wait"]


def test_a_wait_ends_with_the_job(server: AnyServer) -> None:
    """And not after its own time; other requests are answered meanwhile."""
    job_id = server.run("trap '' TERM; echo set; sleep 60")
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "set')
    replies = []
    waiting = threading.Thread(target=lambda: replies.append(server.ask("POST", f"/jobs/{job_id}/cancel?wait=30")))
    waiting.start()
    assert server.ask("GET", "/livez").status == 200
    waiting.join(10)
    assert [(reply.status, reply.json["state"]) for reply in replies] == [(200, "cancelled")]


def test_forget(server: AnyServer) -> None:
    job_id = server.run("sleep 60")
    refused = server.ask("DELETE", f"/jobs/{job_id}")
    assert (refused.status, refused.problem) == (409, "conflict")
    assert server.ask("POST", f"/jobs/{job_id}/cancel?wait=10").status == 200
    assert server.ask("DELETE", f"/jobs/{job_id}").status == 204
    assert server.ask("GET", f"/jobs/{job_id}").problem == "not-found"


def test_list_filters(server: AnyServer) -> None:
    server.ended(server.run("true", id="f1", labels={"kind": "x", "n": "1"}))
    server.ended(server.run("false", id="f2", labels={"kind": "x", "n": "a:b"}))

    def ids(query: str) -> list[str]:
        return [job["id"] for job in server.ask("GET", f"/jobs?label=kind:x&{query}").json["jobs"]]

    assert ids("") == ["f2", "f1"]
    assert ids("state=failed") == ["f2"]
    assert ids("state=failed,succeeded") == ["f2", "f1"]
    assert ids("state=canceled") == []
    assert ids("label=n:1") == ["f1"]
    assert ids("label=n:a:b") == ["f2"]
    assert ids("label=n:2") == []
    listed = server.ask("GET", "/jobs?label=kind:x").json["jobs"]
    assert all(set(job) == FIELDS for job in listed)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=sleeping", "state"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("limit=-1", "limit"),
        ("label=x", "label"),
        ("label=:x", "label"),
        ("cursor=x", "cursor"),
        ("cursor=W10", "cursor"),
        ("cursor=%F0%9F", "cursor"),
        ("stuck=maybe", "stuck"),
        ("&".join(["label=a:b"] * 33), "label"),
        ("&".join(["label=a:b"] * 800), "label"),
        ("&".join(f"label=k{i}:v" for i in range(400)), "label"),
        ("label=a:" + "x" * 257, "label"),
        ("label=" + "x" * 15_000, "label"),
        ("&".join(["state=running"] * 33), "state"),
        ("state=" + ",".join(["running"] * 1_000), "state"),
        ("state=" + "x" * 15_000, "state"),
        ("limit=" + "9" * 15_000, "limit"),
        ("limit=1e2", "limit"),
        ("limit=%D9%A3", "limit"),
        ("cursor=" + "W" * 15_000, "cursor"),
        ("cursor=" + "MTEx" * 3_000, "cursor"),
        ("cursor=WzEuNV0", "cursor"),
        ("cursor=%00", "cursor"),
        ("stuck=" + "x" * 15_000, "stuck"),
    ],
)
def test_wrong_queries(server: AnyServer, query: str, field: str) -> None:
    reply = server.ask("GET", f"/jobs?{query}")
    assert (reply.status, reply.fields) == (422, [field])
    assert len(reply.body) < 2_000


def test_as_many_labels_as_a_job_can_have(server: AnyServer) -> None:
    labels = {f"k{i}": "v" for i in range(32)}
    server.ended(server.run("true", id="labelled", labels=labels))
    query = "&".join(f"label={key}:v" for key in labels)
    assert [job["id"] for job in server.ask("GET", f"/jobs?{query}&{'&'.join(['x=y'] * 2_000)}").json["jobs"]] == [
        "labelled"
    ]


def test_pages_stay_in_place_while_jobs_come_and_go(server: AnyServer) -> None:
    for number in range(7):
        server.ended(server.run("true", id=f"p{number}", labels={"page": "y"}))
    query = "/jobs?label=page:y&limit=3"
    first = server.ask("GET", query).json
    server.ended(server.run("true", id="p7", labels={"page": "y"}))
    # One is the job that the cursor names, and the other is on the next page.
    assert server.ask("DELETE", f"/jobs/{first['jobs'][-1]['id']}").status == 204
    assert server.ask("DELETE", "/jobs/p2").status == 204
    second = server.ask("GET", f"{query}&cursor={first['next_cursor']}").json
    third = (
        server.ask("GET", f"/jobs?label=page:y&cursor={second['next_cursor']}").json if second["next_cursor"] else None
    )
    assert [job["id"] for job in first["jobs"]] == ["p6", "p5", "p4"]
    assert [job["id"] for job in second["jobs"]] == ["p3", "p1", "p0"]
    assert second["next_cursor"] is third is None


def test_a_full_queue_refuses_but_cancel_and_health_answer(tmp_path: Any) -> None:
    with in_process_server(tmp_path / "state", max_running=1, max_queued=1) as small:
        first, second = small.run("sleep 60"), small.run("sleep 60")
        for path in ("/jobs", "/execute/stream"):
            reply = small.ask("POST", path, body())
            assert (reply.status, reply.problem) == (429, "queue-full")
            assert int(reply.headers["retry-after"]) >= 1
        # An invalid request is reported before a full queue.
        assert small.ask("POST", "/jobs", body(id="a b")).status == 422
        assert small.ask("GET", "/health").json["counts"]["queued"] == 1
        queued = small.ask("POST", f"/jobs/{second}/cancel?wait=5")
        assert (queued.status, queued.json["cancellation"]["proof"]) == (200, "never_started")
        assert small.ask("POST", f"/jobs/{first}/cancel?wait=5").status == 200
