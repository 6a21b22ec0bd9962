"""A request's id and trace come back in its answer and reach the processes of its job."""

from __future__ import annotations

from tests.api.wire import RealServer

PARENT = f"00-{'4b' * 16}-{'c3' * 8}-01"
PRINT = {"command": "echo $DEADSTOP_REQUEST_ID $TRACEPARENT $TRACESTATE", "terminal": False}


def test_from_the_header_to_the_job_s_environment(server: RealServer) -> None:
    headers = {"X-Request-Id": "order:7", "traceparent": PARENT, "tracestate": "congo=t61"}
    reply = server.ask("POST", "/jobs", {"task": "shell", "input": PRINT}, headers=headers)
    assert reply.headers["x-request-id"] == "order:7"
    server.ended(reply.json["id"])
    text = _output(server, reply.json["id"])
    request_id, traceparent, tracestate = text.split()
    assert (request_id, tracestate) == ("order:7", "congo=t61")
    assert traceparent.startswith(f"00-{'4b' * 16}-")
    assert traceparent.endswith("-01")
    assert "c3" * 8 not in traceparent


def test_without_headers_there_is_an_id_also_of_a_refused_request(server: RealServer) -> None:
    refused = server.ask("GET", "/jobs", token=False)
    assert refused.status == 401
    other = server.ask("GET", "/jobs")
    assert len({refused.headers["x-request-id"], other.headers["x-request-id"]}) == 2


def _output(server: RealServer, job_id: str) -> str:
    events = server.ask("GET", f"/jobs/{job_id}/events?follow=false").json["events"]
    return "".join(event["text"] for event in events if event["type"] == "job.output")
