"""Clients that are cut off at any moment, from the first byte of their request on: their jobs leave nothing behind."""

from __future__ import annotations

import json
import random
import select
import socket
import time
from pathlib import Path

import psutil
import pytest

from tests.api.wire import RealServer, real_server
from tests.support.leaks import semaphores_of
from tests.support.observer import Watched

COUNT = 1000
LONGEST_S = 0.08
"""After about half of this time, a job is running with its process tree."""
TREE = "sleep 60 & setsid sleep 60 & trap '' TERM; echo up; while :; do sleep 60; done"


def cut_off(server: RealServer, draw: random.Random, number: int) -> None:
    """Run one client that disconnects after a moment, or after a part of its request, in one of three ways."""
    body = {"task": "shell", "input": {"command": TREE, "terminal": draw.random() < 0.5}, "id": f"cut-{number}"}
    request = server.stream_request(body)
    sock = server.connect()
    try:
        if draw.random() < 0.1:
            sock.sendall(request[: draw.randrange(len(request))])
        else:
            sock.sendall(request)
            gone_at = time.monotonic() + draw.random() * LONGEST_S
            while (left_s := gone_at - time.monotonic()) > 0:
                if select.select([sock], [], [], left_s)[0]:
                    sock.recv(draw.randrange(1, 4096))
        how = draw.random()
        if how < 0.4:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # RST
        elif how < 0.6:
            sock.shutdown(socket.SHUT_RDWR)
    finally:
        sock.close()


def jobs(server: RealServer) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    cursor = ""
    while True:
        page = server.ask("GET", f"/jobs?limit=500{cursor}").json
        found += page["jobs"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


@pytest.mark.suite
@pytest.mark.timeout(600)
def test_a_thousand_clients_cut_off_at_random(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(1)
    with real_server(tmp_path / "state", MAX_RUNNING="16") as server:
        warm = psutil.Process(server.process.pid)
        for number in range(20):  # resources that are created once are created now
            cut_off(server, draw, -1 - number)
        wait_idle(server)
        fds, semaphores = warm.num_fds(), semaphores_of(warm.pid)
        with Watched(child.pid for child in warm.children(recursive=True)) as before:
            known = {handle.pid for handle in before.handles}
            for number in range(COUNT):
                cut_off(server, draw, number)
            wait_idle(server)
            made = [job for job in jobs(server) if "--" not in str(job["id"])]
            # Idle workers come and go. Any other process would belong to a job.
            left = [
                words
                for child in warm.children(recursive=True)
                if child.pid not in known and (words := is_a_jobs(child))
            ]
        states = {state: sum(job["state"] == state for job in made) for state in {str(job["state"]) for job in made}}
        cancellations = [job["cancellation"] for job in made]
        with capsys.disabled():
            never = sum(c["method"] == "never_started" for c in cancellations)  # type: ignore[index]
            worst = max(c["gone_ms"] or 0 for c in cancellations)  # type: ignore[index]
            print(json.dumps({"cut": COUNT, "jobs": states, "never_started": never, "worst_gone_ms": worst}))
        assert set(states) == {"cancelled"}
        assert len(made) > COUNT * 0.7
        assert all(c["within_budget"] and c["reason"] == "client_disconnected" for c in cancellations)  # type: ignore[index]
        assert left == []
        assert warm.num_fds() <= fds + 2
        # A guardian that has ended is collected, with its Event, by the thread that starts others: a moment later.
        deadline = time.monotonic() + 20
        while (more := len(semaphores_of(warm.pid)) - len(semaphores)) > 5:
            assert time.monotonic() < deadline, f"{more} semaphores more than before"
        assert "Traceback" not in server.log.read_text()


def is_a_jobs(process: psutil.Process) -> str:
    """Return the command line of a process of a job, or "" for one of an idle worker or one that has ended."""
    try:
        words = " ".join([process.name(), *process.cmdline()])
    except psutil.NoSuchProcess:
        return ""
    return "" if words.startswith("deadstop-") or "multiprocessing" in words else words


def wait_idle(server: RealServer) -> None:
    deadline = time.monotonic() + 60
    while server.active():
        assert time.monotonic() < deadline, server.ask("GET", "/health").json
