"""A job with a lease runs as long as its client renews the lease, whatever the state of its connections."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.api.wire import AnyServer

SLEEP = {"task": "shell", "input": {"command": "echo up; sleep 60", "terminal": False}}
LEASE_S = 0.6


@pytest.fixture(scope="module")
def server(faked: AnyServer) -> AnyServer:
    return faked


def created(server: AnyServer, **more: Any) -> str:
    reply = server.ask("POST", "/jobs", SLEEP | more)
    assert reply.status == 202, reply
    return str(reply.json["id"])


def test_a_lease_that_is_not_renewed_cancels(server: AnyServer) -> None:
    job = server.ended(created(server, lease_s=LEASE_S))
    assert job["state"] == "cancelled"
    assert job["cancellation"]["reason"] == "lease"
    assert job["cancellation"]["detail"] == "the lease of 0.6 s ran out"
    assert job["cancellation"]["within_budget"]


def test_a_renewed_lease_holds_and_then_runs_out(server: AnyServer) -> None:
    job_id = created(server, lease_s=LEASE_S)
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stop_renewing = time.monotonic() + 3 * LEASE_S
        while time.monotonic() < stop_renewing:
            reply = server.ask("POST", f"/jobs/{job_id}/lease")
            assert (reply.status, reply.json["lease_s"]) == (200, LEASE_S), reply
            assert not stream.watch("cancel.requested", LEASE_S / 6)
        last_renewal = time.monotonic()
        stream.read_to_end()
    assert LEASE_S / 2 < time.monotonic() - last_renewal < LEASE_S + 2.5
    assert server.job(job_id)["cancellation"]["detail"] == "the lease of 0.6 s ran out"


def test_a_lease_counts_while_a_stream_holds_the_job(server: AnyServer) -> None:
    # The reader is there and reads, as a proxy would in place of a client that has gone.
    with server.stream("POST", "/execute/stream", SLEEP | {"lease_s": LEASE_S}) as stream:
        assert '"reason": "lease"' in stream.read_to_end()


def test_without_a_lease_there_is_nothing_to_renew(server: AnyServer) -> None:
    job_id = created(server)
    reply = server.ask("POST", f"/jobs/{job_id}/lease")
    assert (reply.status, reply.problem) == (409, "conflict")
    assert "without `lease_s`" in reply.json["detail"]
    server.ask("POST", f"/jobs/{job_id}/cancel?wait=10", {"force": True})


def test_an_ended_job_is_not_kept_alive(server: AnyServer) -> None:
    job_id = server.run("true", lease_s=60)
    server.ended(job_id)
    reply = server.ask("POST", f"/jobs/{job_id}/lease", {})
    assert (reply.status, reply.problem) == (409, "conflict")
    assert "succeeded" in reply.json["detail"]


def test_a_job_that_is_being_stopped_is_not_kept_alive(server: AnyServer) -> None:
    deaf = {"task": "shell", "input": {"command": "trap '' TERM HUP; echo DEAF; sleep 60"}}
    reply = server.ask("POST", "/jobs", deaf | {"lease_s": 60, "id": "deaf"})
    assert reply.status == 202, reply
    with server.stream("GET", "/jobs/deaf/events") as stream:
        stream.until("DEAF")
        assert server.ask("POST", "/jobs/deaf/lease").status == 200
        assert server.ask("POST", "/jobs/deaf/cancel").json["state"] == "cancelling"
        reply = server.ask("POST", "/jobs/deaf/lease")
        assert (reply.status, reply.problem) == (409, "conflict")
        assert "it is cancelling" in reply.json["detail"]
        stream.read_to_end()
    assert server.ask("POST", "/jobs/deaf/lease").status == 409


@pytest.mark.parametrize(
    ("job_id", "body", "status"), [("nobody", None, 404), ("a%20b", None, 422), ("x", {"s": 1}, 422)]
)
def test_wrong_renewals(server: AnyServer, job_id: str, body: Any, status: int) -> None:
    assert server.ask("POST", f"/jobs/{job_id}/lease", body).status == status


def test_the_same_id_with_another_lease_is_another_body(server: AnyServer) -> None:
    body = {"task": "shell", "input": {"command": "true"}, "id": "leased", "lease_s": 60}
    assert server.ask("POST", "/jobs", body).status == 202
    assert server.ask("POST", "/jobs", body).status == 200
    assert server.ask("POST", "/jobs", body | {"lease_s": 61}).status == 409
    server.ended("leased")
