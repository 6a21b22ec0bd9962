"""Typing into a job over HTTP."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from tests.api.wire import RealServer

BOUND_S = 10.0


def run(server: RealServer, command: str, **values: Any) -> str:
    body = {"task": "shell", "input": {"command": command, "stdin": "open"} | values}
    reply = server.ask("POST", "/jobs", body)
    assert reply.status == 202, reply
    return str(reply.json["id"])


def type_(server: RealServer, job_id: str, **body: Any) -> None:
    reply = server.ask("POST", f"/jobs/{job_id}/input", body)
    assert reply.status == 202, reply
    assert set(reply.json) == {"pending_bytes"}


@pytest.mark.parametrize("terminal", [True, False])
def test_a_dialogue(server: RealServer, terminal: bool) -> None:
    job_id = run(server, 'read a; echo "got $a"; read b; echo "and $b"; cat; echo over', terminal=terminal)
    type_(server, job_id, text="one\n")  # the input may arrive before the job runs, and then waits for it
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until("got one")
        type_(server, job_id, text="zwöi 😀\n")
        stream.until("and zw")
        type_(server, job_id, text="last words", eof=True)
        stream.until("over")
    assert server.ended(job_id)["result"] == {"exit_code": 0}


def test_ctrl_c_and_size_reach_the_terminal(server: RealServer) -> None:
    job_id = run(
        server, "trap 'stty size' WINCH; trap 'echo interrupted; exit 7' INT; echo READY; while :; do sleep 0.05; done"
    )
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "READY')
        type_(server, job_id, size={"rows": 33, "columns": 111})
        stream.until("33 111")
        type_(server, job_id, text="\x03")
        stream.until("interrupted")
    assert server.ended(job_id)["error"]["exit_code"] == 7


def test_who_cannot_be_typed_into(server: RealServer) -> None:
    closed = server.run("echo up; sleep 60")
    reply = server.ask("POST", f"/jobs/{closed}/input", {"text": "x"})
    assert (reply.status, reply.problem) == (409, "conflict")
    assert "stdin" in reply.json["detail"]
    server.ask("POST", f"/jobs/{closed}/cancel?wait=10", {"force": True})

    ended = run(server, "true")
    server.ended(ended)
    reply = server.ask("POST", f"/jobs/{ended}/input", {"text": "x"})
    assert (reply.status, reply.problem) == (409, "conflict")
    assert "succeeded" in reply.json["detail"]

    assert server.ask("POST", "/jobs/nobody/input", {"text": "x"}).problem == "not-found"
    assert server.ask("POST", "/jobs/a%20b/input", {"text": "x"}).fields == ["id"]
    assert server.ask("POST", f"/jobs/{ended}/input", {"text": "x"}, token=False).status == 401
    evil = {"Origin": "http://evil.example"}
    assert server.ask("POST", f"/jobs/{ended}/input", {"text": "x"}, headers=evil).status == 403


def test_after_eof_nothing_and_on_pipes_no_size(server: RealServer) -> None:
    job_id = run(server, "cat >/dev/null; sleep 60", terminal=False)
    sized = server.ask("POST", f"/jobs/{job_id}/input", {"size": {"rows": 1, "columns": 1}})
    assert (sized.status, sized.problem) == (409, "conflict")
    type_(server, job_id, eof=True)
    assert server.ask("POST", f"/jobs/{job_id}/input", {"text": "more"}).problem == "conflict"
    server.ask("POST", f"/jobs/{job_id}/cancel?wait=10", {"force": True})


def test_a_command_that_closes_its_stdin_is_reported(server: RealServer) -> None:
    job_id = run(server, "exec <&-; echo closed; sleep 60", terminal=False)
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "closed')
    deadline = time.monotonic() + BOUND_S
    # The server learns of the closed pipe after a moment.
    while (reply := server.ask("POST", f"/jobs/{job_id}/input", {"text": "x"})).status == 202:
        assert time.monotonic() < deadline
    assert (reply.status, reply.problem) == (409, "conflict")
    server.ask("POST", f"/jobs/{job_id}/cancel?wait=10", {"force": True})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"eof": False}, "text"),
        ({"text": 1}, "text"),
        ({"text": "x" * 65_537}, "text"),
        ({"text": "ä" * 40_000}, "text"),
        ({"text": "\x00"}, "text"),
        ({"eof": "yes"}, "eof"),
        ({"size": {"rows": 10}}, "size.columns"),
        ({"size": {"rows": 0, "columns": 1}}, "size.rows"),
        ({"size": {"rows": 1.5, "columns": 1}}, "size.rows"),
        ({"size": [24, 80]}, "size"),
        ({"keys": "x"}, "keys"),
    ],
)
def test_wrong_bodies_name_the_field(server: RealServer, body: dict[str, Any], field: str) -> None:
    reply = server.ask("POST", "/jobs/nobody/input", body)
    assert (reply.status, reply.fields) == (422, [field])


@pytest.mark.parametrize("terminal", [True, False])
def test_a_job_that_does_not_read_blocks_no_other_request(server: RealServer, terminal: bool) -> None:
    job_id = run(server, "stty raw -echo 2>/dev/null; echo READY; sleep 60", terminal=terminal)
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "READY')
    deadline = time.monotonic() + BOUND_S
    accepted = 0
    while (reply := server.ask("POST", f"/jobs/{job_id}/input", {"text": "x" * 60_000})).status == 202:
        accepted += 60_000
        assert time.monotonic() < deadline
    assert (reply.status, reply.problem) == (429, "input-full")
    assert int(reply.headers["retry-after"]) >= 1
    assert 100_000 < accepted < 1_000_000
    assert server.ask("GET", "/livez").status == 200  # within PATIENCE_S; the job goes on for longer
    job = server.ask("POST", f"/jobs/{job_id}/cancel?wait=10").json
    assert (job["state"], job["cancellation"]["method"]) == ("cancelled", "cooperative")
    assert job["cancellation"]["acknowledged_ms"] < 250


def test_a_flood_of_input_is_read_whole_and_in_order(server: RealServer) -> None:
    job_id = run(server, "sha256sum", terminal=False)
    digest = hashlib.sha256()
    deadline = time.monotonic() + BOUND_S
    for number in range(40):
        text = f"{number}\n" + "aä漢😀" * 6000
        while (reply := server.ask("POST", f"/jobs/{job_id}/input", {"text": text})).status == 429:
            assert time.monotonic() < deadline
        assert reply.status == 202, reply
        digest.update(text.encode())
    type_(server, job_id, eof=True)
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until(digest.hexdigest())
    assert server.ended(job_id)["state"] == "succeeded"
