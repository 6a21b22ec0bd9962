"""A job that writes arbitrary data to its runner's channel may harm itself, but no other job.

Each job finds the channel among its descriptors and sends the frames of the protocol in any order, cut, enlarged,
doubled and in bytes that are not text, drawn from its seed. A job that counts runs beside them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import EventStream
from tests.support.server import RunningServer, running_server

COUNTED = 400
BABBLERS = r'''
"""A task module for this test: says nonsense where only a runner should speak."""
import json, os, random, socket, stat
from runner import Context, task

FRAMES = [
    {"type": "running"}, {"type": "heartbeat"}, {"type": "input_closed"}, {"type": "input_taken", "cost": -(2**63)},
    {"type": "input_taken", "cost": 10**30}, {"type": "phase", "phase": "tool", "detail": "x" * 5000},
    {"type": "phase", "phase": "nonsense"}, {"type": "progress", "done": 1e308, "total": -1, "message": "\ud800"},
    {"type": "output", "stream": "stdout", "text": "\u0000" * 50_000},
    {"type": "output", "stream": "stdin", "text": ""},
    {"type": "log", "level": "info", "message": "m", "fields": {"a": [[[[{}]]]] * 1000}},
    {"type": "log", "level": "info", "message": "\ud800\udfff", "fields": {"\ud800": "\udc00"}},
    {"type": "resource", "action": "released", "kind": "terminal", "name": "never acquired"},
    {"type": "resource", "action": "acquired", "kind": "file", "name": "/etc/passwd"},
    {"type": "described", "module": "runner.tasks.shell", "tasks": []},
    {"type": "result", "result": {"not": "yet"}}, {"type": "failure", "kind": "raised", "message": "not mine"},
    {"type": "failure", "kind": "guardian", "message": "not a runner's word"},
    {"type": "hello", "guardian_pid": 1, "runner_pid": 1}, {"type": "ended", "proof": "echild"},
    {"type": "work"}, {"type": "ask"}, {"type": []}, {}, [], None, 7,
]
RAW = [
    b"\n", b"\0" * 1000 + b"\n", b"\xff\xfe\n", b"{" * 100_000 + b"\n", b"[" * 1_000_000 + b"\n", b"NaN\n",
    b'{"type": "progress", "done": NaN, "total": Infinity}\n',
    b'{"type": "progress", "done": ' + b"9" * 10_000 + b"}\n",
    b'{"type": "log", "level": "info", "message": "m", "fields": {"n": ' + b"9" * 10_000 + b"}}\n",
    b'{"type": "result", "result": ' + b"9" * 10_000 + b"}\n",
    b'{"type": "result", "result": "' + b"x" * 5_000_000 + b'"}\n', b"y" * 9_000_000 + b"\n",
    b'{"type": "running", "type": "result", "result": 1}\n', b"event: x\ndata: y\n\n",
]

def channels() -> list[int]:
    found = [int(name) for name in os.listdir("/proc/self/fd")]
    return [fd for fd in found if fd > 2 and is_socket(fd)]

def is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False

@task
def babble(ctx: Context, seed: int, count: int) -> dict:
    """Say `count` things."""
    draw = random.Random(seed)
    sockets = [socket.socket(fileno=os.dup(fd)) for fd in channels()]
    assert sockets
    for _ in range(count):
        data = draw.choice(RAW) if draw.random() < 0.3 else json.dumps(draw.choice(FRAMES)).encode() + b"\n"
        how = draw.random()
        if how < 0.15:
            data = data[: draw.randrange(len(data))]
        elif how < 0.3:
            data = bytearray(data)
            for _ in range(3):
                data[draw.randrange(len(data))] = draw.randrange(256)
        elif how < 0.4:
            data = data * 2
        draw.choice(sockets).sendall(data)
    if draw.random() < 0.3:
        os.kill(os.getpid(), 9)
    return {"said": count}
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("wire")
    (folder / "babblers.py").write_text(BABBLERS)
    path = f"{folder}:{Path(__file__).parents[2]}"
    with running_server(folder / "state", env={"DEADSTOP_TASKS": "babblers", "PYTHONPATH": path}) as running:
        yield running


def babble_beside_a_counter(server: RunningServer, seeds: range, count: int) -> set[str]:
    """Read the counting job to its end, and return how the babbling jobs ended."""
    numbers = f"import time\nfor n in range({COUNTED}): print(n, flush=True); time.sleep(0.005)"
    body = {"task": "shell", "input": {"argv": [sys.executable, "-c", numbers], "terminal": False}}
    with EventStream(server.url, server.token, body=body) as counter:
        counter.until_output("0\n")
        ids = [str(create(server, seed, count)) for seed in seeds]
        states = [server.wait_finished(job_id, 30)["state"] for job_id in ids]
        list(counter.rest(30))
    assert counter.output == "".join(f"{n}\n" for n in range(COUNTED))
    assert counter.events[-1].type == "job.succeeded"
    assert [event.id for event in counter.events] == list(range(1, len(counter.events) + 1))
    for job_id in ids:
        told = server.http.get(f"/jobs/{job_id}/events", params={"follow": "false"}).json()["events"]
        assert told[-1]["type"] in {"job.succeeded", "job.failed"}
        assert sum(event["type"] in {"job.succeeded", "job.failed"} for event in told) == 1
    assert server.http.get("/livez").status_code == 200
    for word in ("Traceback", "internal_error", "Exception", "never retrieved"):
        assert word not in server.stderr
    return set(states)


def create(server: RunningServer, seed: int, count: int) -> str:
    body = {"task": "babble", "input": {"seed": seed, "count": count}}
    while (reply := server.http.post("/jobs", json=body)).status_code == 503:
        assert reply.headers["retry-after"]  # the module is still being described
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def test_nonsense_on_the_wire_does_not_affect_other_jobs(server: RunningServer) -> None:
    assert babble_beside_a_counter(server, range(8), 40) == {"succeeded", "failed"}


@pytest.mark.suite
@pytest.mark.timeout(600)
def test_much_nonsense(server: RunningServer) -> None:
    for first in range(100, 300, 10):
        babble_beside_a_counter(server, range(first, first + 10), 100)
