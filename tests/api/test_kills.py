"""kill -9 of the server at random instants while clients submit: every accepted job stays accounted for."""

from __future__ import annotations

import http.client
import os
import random
import signal
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.api.raw_stream import PATIENCE_S, RawStream
from tests.api.wire import RealServer, real_server
from tests.support.observer import describe, snapshot

CLIENTS = 3
LOAD_S = 0.8
"""The server is killed at some instant within this many seconds of load."""
MAX_QUEUED = 50
PAUSE_S = 0.01
GONE_S = 3.0
RAN = "ran"
"""The folder beside STATE_DIR where each job leaves a line in a file of its own."""


@dataclass
class Told:
    """Everything that clients received from any of the servers."""

    accepted: dict[str, str] = field(default_factory=dict)
    """Ids that were answered with 202, and the state in which each was last seen."""
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Events that streams received, by job."""
    number: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_id(self) -> str:
        with self.lock:
            self.number += 1
            return f"job-{self.number}"


def command(state: Path, job_id: str, number: int) -> str:
    """Return the command of every job: write a line to a file that no server reads, then sleep for some time."""
    return f"echo ran >> {state.parent}/{RAN}/{job_id}; echo {job_id}; sleep 0.0{number % 9}"


def client(server: RealServer, told: Told, *, streams: bool) -> None:
    """Submit until the server is gone."""
    try:
        while True:
            job_id = told.next_id()
            line = command(server.state_dir, job_id, told.number)
            body = {"task": "shell", "input": {"command": line}, "id": job_id}
            if streams:
                stream_one(server, told, job_id, body | {"on_disconnect": "continue"})
            elif server.ask("POST", "/jobs", body).status == 202:
                told.accepted[job_id] = "queued"
            else:
                threading.Event().wait(PAUSE_S)  # the queue is full
    except (OSError, EOFError, ValueError, http.client.HTTPException):
        return  # the server was killed in the middle of this request
    except AssertionError as exc:
        if "connection closed" not in str(exc):
            raise


def stream_one(server: RealServer, told: Told, job_id: str, body: dict[str, Any]) -> None:
    sock = server.connect()
    with sock:
        sock.sendall(server.stream_request(body))
        stream = RawStream(sock)
        if stream.status == 429:
            return
        try:
            stream.until("job.queued")
            told.accepted[job_id] = "queued"  # its row is on the disk, or this event would not be here
            stream.read_to_end()
        finally:
            if stream.head:
                told.events[job_id] = [event for event in stream.events() if "id" in event]


def look(server: RealServer, told: Told) -> None:
    """Check that every accepted job exists, and that a state once reported as final has not changed."""
    known: dict[str, str] = {}
    cursor = ""
    while True:
        page = server.ask("GET", f"/jobs?limit=500{cursor}").json
        known |= {job["id"]: job["state"] for job in page["jobs"]}
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    for job_id, before in told.accepted.items():
        assert job_id in known, f"{job_id} was accepted and is not known"
        if before in {"succeeded", "lost"}:
            assert known[job_id] == before
        told.accepted[job_id] = known[job_id]


def load_and_kill(server: RealServer, told: Told, after_s: float) -> None:
    threads = [
        threading.Thread(target=client, args=(server, told), kwargs={"streams": number == 0})
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    threading.Event().wait(after_s)  # the instant is the point of this test
    with snapshot(server.process.pid) as family:
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(PATIENCE_S)
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        left = family.wait_gone(time.monotonic() + GONE_S)
        assert not left, describe(left)


def all_ends(server: RealServer, told: Told) -> None:
    deadline = time.monotonic() + 2 * PATIENCE_S
    while server.active():
        assert time.monotonic() < deadline, server.ask("GET", "/health").json["counts"]
    look(server, told)
    assert set(told.accepted.values()) <= {"succeeded", "lost"}
    for job_id, seen in told.events.items():
        if seen:
            events = server.ask("GET", f"/jobs/{job_id}/events?follow=false").json["events"]
            assert events[: len(seen)] == seen, "what a client was sent is kept, under the same numbers"
            assert [event["id"] for event in events] == list(range(1, len(events) + 1))


def check_runs(state: Path, told: Told) -> None:
    """No job runs twice. Jobs that had begun when their server was killed are lost, and finished jobs ran once."""
    wrong = {}
    for job_id, end in told.accepted.items():
        path = state.parent / RAN / job_id
        times = path.read_text().count("ran") if path.exists() else 0
        if times > 1 or (end == "succeeded" and times != 1):
            wrong[job_id] = (end, times)
    assert not wrong


def history(state: Path, rounds: int, seed: int) -> Told:
    chance, told = random.Random(seed), Told()
    (state.parent / RAN).mkdir()
    for _ in range(rounds):
        with real_server(state, MAX_RUNNING="4", MAX_QUEUED=str(MAX_QUEUED), KEEP_JOBS="1000000") as server:
            look(server, told)
            load_and_kill(server, told, chance.uniform(0, LOAD_S))
        with sqlite3.connect(state / "journal.sqlite3") as connection:
            assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        connection.close()
    with real_server(state, MAX_RUNNING="8", KEEP_JOBS="1000000") as server:
        look(server, told)
        all_ends(server, told)
    check_runs(state, told)
    assert not list(state.glob("*.damaged-*"))
    return told


def test_killed_a_few_times_under_load(tmp_path: Path) -> None:
    told = history(tmp_path / "state", 2, seed=5)
    assert told.accepted


@pytest.mark.suite
@pytest.mark.timeout(3600)
def test_killed_two_hundred_times_under_load(tmp_path: Path) -> None:
    rounds = int(os.environ.get("DEADSTOP_ROUNDS", "200"))
    told = history(tmp_path / "state", rounds, seed=time.time_ns())
    states = list(told.accepted.values())
    ends = ", ".join(f"{states.count(state)} {state}" for state in ("succeeded", "lost"))
    print(f"{rounds} kills, {len(states)} jobs accepted: {ends}")
