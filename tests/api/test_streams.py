"""Event streams: what they carry, how they resume, when they end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.api.in_process import in_process_server
from tests.api.raw_stream import PATIENCE_S, RawStream
from tests.api.wire import AnyServer


@pytest.fixture(scope="module")
def server(faked: AnyServer) -> AnyServer:
    return faked


def execute(server: AnyServer, command: str, **more: Any) -> Any:
    return server.stream("POST", "/execute/stream", {"task": "shell", "input": {"command": command}, **more})


def test_a_stream_is_the_jobs_whole_story(server: AnyServer) -> None:
    with execute(server, "echo hello") as stream:
        text = stream.read_to_end()
        head = stream.head.lower()
    assert stream.status == 200
    assert "content-type: text/event-stream" in head
    assert "cache-control: no-store" in head
    frames = stream.frames()
    assert [frame["id"] for frame in frames] == [str(number + 1) for number in range(len(frames))]
    events = [json.loads(frame["data"]) for frame in frames]
    assert [event["type"] for event in events] == [frame["event"] for frame in frames]
    assert events[0]["type"] == "job.queued"
    assert events[-1]["type"] == "job.succeeded"
    assert all({"id", "job_id", "type", "at"} <= event.keys() for event in events)
    assert "hello" in "".join(event["text"] for event in events if event["type"] == "job.output")
    assert text.isascii()
    assert "\r" not in text


def test_heartbeats_are_not_events(server: AnyServer) -> None:
    """A comment with a blank line behind it is an event without data to some clients."""
    with execute(server, "sleep 1.2") as stream:
        text = stream.read_to_end()
    beats = text.count(": hb\n")
    assert 2 <= beats <= 5
    assert ": hb\n\n" not in text
    assert all("data" in frame for frame in stream.frames())


def test_readers_resume_behind_what_they_have(server: AnyServer) -> None:
    job_id = server.run("echo one; echo two")
    server.ended(job_id)

    def ids(path: str, *headers: str) -> list[int]:
        with server.stream("GET", path, None, *headers) as stream:
            stream.read_to_end()
            return [event["id"] for event in stream.events()]

    path = f"/jobs/{job_id}/events"
    everything = ids(path)
    assert ids(f"{path}?after=0") == everything
    assert ids(f"{path}?after=2") == everything[2:]
    assert ids(path, "Last-Event-ID: 3") == everything[3:]
    assert ids(f"{path}?after=1", "Last-Event-ID: 3") == everything[3:]


@pytest.mark.parametrize("number", ["-1", "x", "1.5", "0x1", "9" * 20, "%D9%A3", "+1", ""])
def test_wrong_positions(server: AnyServer, number: str) -> None:
    job_id = server.run("true")
    server.ended(job_id)
    assert server.ask("GET", f"/jobs/{job_id}/events?after={number}").fields == ["after"]
    if number.isascii() and "%" not in number:
        reply = server.ask("GET", f"/jobs/{job_id}/events", headers={"Last-Event-ID": number})
        assert reply.fields == ["Last-Event-ID"]
    both = server.ask("GET", f"/jobs/{job_id}/events?after={number}", headers={"Last-Event-ID": "1"})
    assert both.fields == ["after"]


def test_nothing_left_is_204(server: AnyServer) -> None:
    job_id = server.run("true")
    last = server.ended(job_id)["last_event_id"]
    for after in (last, last + 1, 10**18):
        reply = server.ask("GET", f"/jobs/{job_id}/events?after={after}")
        assert (reply.status, reply.body) == (204, b"")


def test_a_number_from_the_future_holds_nothing_back(server: AnyServer) -> None:
    job_id = server.run("echo up; sleep 60; echo never")
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "up')
    with server.stream("GET", f"/jobs/{job_id}/events?after=1000") as stream:
        assert stream.status == 200
        server.ask("POST", f"/jobs/{job_id}/cancel")
        stream.read_to_end()
        assert stream.events()[-1]["type"] == "job.cancelled"
        assert stream.events()[0]["id"] > 4


def test_events_as_one_document(server: AnyServer) -> None:
    job_id = server.run("echo one")
    last = server.ended(job_id)["last_event_id"]
    path = f"/jobs/{job_id}/events"
    whole = server.ask("GET", path, headers={"Accept": "application/json"}).json
    assert whole == server.ask("GET", f"{path}?follow=false").json
    assert [event["id"] for event in whole["events"]] == list(range(1, last + 1))
    assert whole["last_event_id"] == last
    assert server.ask("GET", f"{path}?follow=false&after={last}").json == {"events": [], "last_event_id": last}
    both = server.ask("GET", f"{path}?after={last - 1}", headers={"Accept": "application/json, text/event-stream"})
    assert both.headers["content-type"].startswith("text/event-stream")
    assert server.ask("GET", f"{path}?follow=maybe").fields == ["follow"]


def test_events_no_longer_in_memory_are_read_from_the_journal(server: AnyServer) -> None:
    """Memory keeps 2 MiB of a job; this one prints more, and every byte of it is there."""
    job_id = server.run("yes 0123456789012345678901234567890123456789 | head -c 9500000")
    server.ended(job_id)
    with server.stream("GET", f"/jobs/{job_id}/events?after=7") as stream:
        stream.read_to_end()
    events = stream.events()
    assert [event["id"] for event in events] == list(range(8, events[-1]["id"] + 1))
    assert events[-1]["type"] == "job.succeeded"
    document: list[dict[str, Any]] = []
    while answer := server.ask("GET", f"/jobs/{job_id}/events?follow=false&after={len(document)}").json["events"]:
        document += answer
    assert [event["id"] for event in document] == list(range(1, events[-1]["id"] + 1))
    assert sum(len(event["text"]) for event in document if event["type"] == "job.output") >= 9_500_000


def test_events_that_were_removed_are_reported_as_a_gap(tmp_path: Path) -> None:
    """One job's events may take a quarter of KEEP_BYTES."""
    with in_process_server(tmp_path / "state", keep_bytes=16 * 2**20) as server:
        job_id = server.run("yes 0123456789012345678901234567890123456789 | head -c 12000000")
        server.ended(job_id)
        path = f"/jobs/{job_id}/events"
        deadline = time.monotonic() + PATIENCE_S
        while (first := server.ask("GET", f"{path}?follow=false").json["events"][0])["type"] != "stream.gap":
            assert time.monotonic() < deadline  # retention runs periodically and sends no notification
        assert first["from"] == 1
        with server.stream("GET", f"{path}?after=7") as stream:
            stream.read_to_end()
        frame = stream.frames()[0]
        assert (frame["event"], json.loads(frame["data"])["from"]) == ("stream.gap", 8)
        assert "id" not in frame
        assert stream.events()[-1]["type"] == "job.succeeded"


def test_get_never_starts_work(server: AnyServer) -> None:
    """An EventSource repeats its GET for ever."""
    for method in ("GET", "HEAD"):
        assert server.ask(method, "/execute/stream").status == 405
    assert server.active() == 0


def test_the_feed_has_all_jobs_from_now_on(server: AnyServer) -> None:
    with server.stream("GET", "/events") as feed:
        assert feed.status == 200
        first = server.run("echo one")
        feed.until("job.succeeded")
        second = server.run("echo two")
        feed.until(f'"job_id": "{second}"')
        server.ended(second)
    assert {event["job_id"] for event in feed.events()} == {first, second}
    assert all("id" not in frame for frame in feed.frames())


def test_a_slow_reader_of_the_feed_gets_the_number_of_events_it_missed(server: AnyServer) -> None:
    """The server does not keep all events for it: the oldest are dropped and counted in a gap, and it catches up."""
    with server.connect(receive_buffer=65536) as sock:
        sock.sendall(server.head("GET", "/events") + b"\r\n")
        assert RawStream(sock).status == 200
        job_id = server.run("yes 0123456789012345678901234567890123456789 | head -c 12000000")
        last = server.ended(job_id)["last_event_id"]
        stream = RawStream(sock, head="seen")
        stream.until(f'"job_id": "{job_id}", "type": "job.succeeded"')
    frames = [json.loads(frame["data"]) for frame in stream.frames()[1:]]
    missed = sum(frame["dropped"] for frame in frames if frame["type"] == "stream.gap")
    seen = [frame["id"] for frame in frames if frame.get("job_id") == job_id]
    assert missed > 0
    assert seen == sorted(set(seen))
    # The first frame may have been cut by the reading of the head.
    assert len(seen) + missed in {last, last - 1}


def test_many_streams_of_one_job(server: AnyServer) -> None:
    job_id = server.run("echo up; sleep 60")
    streams = [server.stream("GET", f"/jobs/{job_id}/events") for _ in range(50)]
    opened = [stream.__enter__() for stream in streams]
    for stream in opened:
        stream.until('"text": "up')
    server.ask("POST", f"/jobs/{job_id}/cancel")
    for stream in opened:
        assert "job.cancelled" in stream.read_to_end()
    for manager in streams:
        manager.__exit__(None, None, None)


def test_nothing_of_all_this_was_a_bug(server: AnyServer) -> None:
    assert "Traceback" not in server.log.read_text()
