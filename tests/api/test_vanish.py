"""A client that vanishes: its network is cut, and neither FIN nor RST ever comes.

The client sits in a network namespace of its own, at the other end of a veth pair; pulling the plug is setting its
end down. That needs root and iproute2.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from tests.api.wire import RealServer, real_server
from tests.support.levels import DEFAULT_PROOF

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and iproute2 to make a network namespace"
)

COUNTER = itertools.count()

CLIENT = """
import socket, sys, time
host, port, request, buffer, read = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode(), int(sys.argv[4]), sys.argv[5]
sock = socket.socket()
if buffer:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
sock.connect((host, port))
sock.sendall(request)
seen = b""
while b'"text": "up' not in seen:
    seen += sock.recv(4096)
print("up", flush=True)
while read == "read":
    sock.recv(65536)
time.sleep(3600)
"""


@dataclass
class Cable:
    """Two ends: ours has `address`, the client's is in `namespace`."""

    namespace: str
    address: str

    def run(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(["ip", "netns", "exec", self.namespace, *argv], stdout=subprocess.PIPE, text=True)

    def pull(self) -> None:
        ip("-n", self.namespace, "link", "set", "far", "down")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)


@pytest.fixture
def cable() -> Iterator[Cable]:
    number = (os.getpid() * 8 + next(COUNTER) % 8) % 16_000
    namespace, near = f"deadstop-{number}", f"deadstop{number}"
    # 198.18.0.0/15 is reserved for tests of networks (RFC 2544) and is not routed.
    network, first = f"198.18.{number // 64}", number % 64 * 4
    try:
        ip("netns", "add", namespace)
    except subprocess.CalledProcessError as exc:
        pytest.skip(f"cannot make a network namespace here: {exc.stderr.decode().strip()}")
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", "far", "netns", namespace)
        ip("addr", "add", f"{network}.{first + 1}/30", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", namespace, "addr", "add", f"{network}.{first + 2}/30", "dev", "far")
        ip("-n", namespace, "link", "set", "far", "up")
        yield Cable(namespace, f"{network}.{first + 1}")
        # Both ends go with the one.
        ip("link", "del", near)
    finally:
        ip("netns", "del", namespace)


@pytest.fixture
def far_server(cable: Cable, tmp_path: Path) -> Iterator[RealServer]:
    with real_server(tmp_path / "state", HOST=cable.address, TOKEN="far-away") as server:
        yield server


def connect_far(cable: Cable, server: RealServer, command: str, *, buffer: int, read: str) -> subprocess.Popen[str]:
    request = server.stream_request({"task": "shell", "id": "far", "input": {"command": command}}).decode()
    host, port = server.address
    client = cable.run(sys.executable, "-c", CLIENT, host, str(port), request, str(buffer), read)
    assert client.stdout is not None
    assert client.stdout.readline() == "up\n"
    return client


def finish(client: subprocess.Popen[str]) -> None:
    client.kill()
    client.wait()
    assert client.stdout is not None
    client.stdout.close()


def test_a_vanished_client_is_noticed_by_what_it_does_not_acknowledge(cable: Cable, far_server: RealServer) -> None:
    """Neither FIN nor RST comes: only bytes without an acknowledgement tell."""
    client = connect_far(cable, far_server, "trap '' TERM; echo up; sleep 61", buffer=0, read="read")
    try:
        cable.pull()
        pulled, pulled_at = time.monotonic(), time.time()
        job = far_server.ended("far")
        took_s = time.monotonic() - pulled
    finally:
        finish(client)
    cancellation = job["cancellation"]
    noticed_s = datetime.fromisoformat(cancellation["requested_at"]).timestamp() - pulled_at
    assert noticed_s + cancellation["gone_ms"] / 1000 < 2.0
    assert (job["state"], cancellation["reason"]) == ("cancelled", "client_disconnected")
    assert (cancellation["proof"], cancellation["within_budget"]) == (DEFAULT_PROOF, True)
    assert took_s < 4.0  # with what the test itself takes to hear of it
    # It was noticed late, so the ladder began at "terminate": with 0.2 s of grace instead of 0.7.
    assert cancellation["terminated_ms"] < 450


def test_a_slow_client_that_then_vanishes_is_noticed_too(cable: Cable, far_server: RealServer) -> None:
    command = "echo up; yes 0123456789 | head -c 3000000; sleep 62"
    client = connect_far(cable, far_server, command, buffer=4096, read="no")
    try:
        with far_server.stream("GET", "/jobs/far/events?after=8") as reader:
            assert not reader.watch("cancel.requested", 4.0)
            cable.pull()
            pulled = time.monotonic()
            reader.sock.settimeout(20.0)
            reader.until("cancel.requested")
            took_s = time.monotonic() - pulled
        job = far_server.ended("far")
    finally:
        finish(client)
    assert job["cancellation"]["reason"] == "client_disconnected"
    assert took_s < 10.0
