"""Streams that hold their jobs: who leaves, stays or returns, and what that does to the job."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.wire import AnyServer


@pytest.fixture(scope="module")
def server(faked: AnyServer) -> AnyServer:
    return faked


def execute(server: AnyServer, command: str, **more: Any) -> Any:
    return server.stream("POST", "/execute/stream", {"task": "shell", "input": {"command": command}, **more})


def test_the_same_id_shares_one_job(server: AnyServer) -> None:
    with execute(server, "echo up; sleep 60", id="shared") as first:
        first.until('"text": "up')
        with execute(server, "echo up; sleep 60", id="shared") as second:
            second.until('"text": "up')
            assert second.events()[0]["id"] == 1
            assert server.ask("POST", "/execute/stream", {"task": "shell", "input": {}, "id": "shared"}).status == 409
        # The second has left. The heartbeats of the next second show that the first is not sent an end.
        first.until(": hb\n" * 3)
        assert server.job("shared")["state"] == "running"
    job = server.ended("shared")
    assert (job["state"], job["cancellation"]["reason"]) == ("cancelled", "client_disconnected")


def test_a_reader_that_leaves_stops_nothing(server: AnyServer) -> None:
    job_id = server.run("echo up; sleep 60")
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "up')
    # The server has seen the reader leave once it answers a request that came after it.
    assert server.ask("GET", f"/jobs/{job_id}").json["state"] == "running"
    server.ask("POST", f"/jobs/{job_id}/cancel?wait=5")


def test_a_reader_that_holds_the_life_does(server: AnyServer) -> None:
    job_id = server.run("echo up; sleep 60")
    with server.stream("GET", f"/jobs/{job_id}/events?on_disconnect=cancel") as stream:
        stream.until('"text": "up')
    assert server.ended(job_id)["cancellation"]["reason"] == "client_disconnected"


def test_a_page_of_another_site_cannot_hold_a_life(server: AnyServer) -> None:
    job_id = server.run("sleep 60")
    path = f"/jobs/{job_id}/events?on_disconnect=cancel"
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert server.ask("GET", path, headers=headers).problem == "forbidden-origin"
    assert server.job(job_id)["state"] in {"queued", "starting", "running"}
    server.ask("POST", f"/jobs/{job_id}/cancel?wait=5")


def test_continue_survives_its_stream(server: AnyServer) -> None:
    with execute(server, "echo up; sleep 60", id="goes-on", on_disconnect="continue") as stream:
        stream.until('"text": "up')
        # Only streams that hold a life beat fast.
        assert ": hb" not in stream.text
    assert server.ask("GET", "/jobs/goes-on").json["state"] == "running"
    assert server.ask("POST", "/jobs/goes-on/cancel?wait=5").json["cancellation"]["reason"] == "api"


def test_reconnect_grace(server: AnyServer) -> None:
    with execute(server, "echo up; sleep 60", id="grace", reconnect_grace_s=20) as stream:
        stream.until('"text": "up')
    with server.stream("GET", "/jobs/grace/events?on_disconnect=cancel&after=1") as again:
        again.until('"text": "up')
        assert server.job("grace")["state"] == "running"
        server.ask("POST", "/jobs/grace/cancel?wait=5")


def test_head_opens_no_stream_and_holds_nothing(server: AnyServer) -> None:
    """A HEAD answers what the GET would, and does nothing."""
    job_id = server.run("echo up; sleep 60")
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "up')
    for path in (f"/jobs/{job_id}/events?on_disconnect=cancel", f"/jobs/{job_id}/events", "/events"):
        reply = server.ask("HEAD", path)
        assert (reply.status, reply.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
    assert server.job(job_id)["state"] == "running"
    server.ask("POST", f"/jobs/{job_id}/cancel?wait=5")
