"""Every way in which a client can disconnect or only seem to, on the real server and over real sockets."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.api.raw_stream import RawStream, send_without_end
from tests.api.wire import RealServer
from tests.support.levels import DEFAULT_PROOF

LONG = {"task": "shell", "input": {"command": "sleep 61 & echo up; sleep 62"}}


def cancelled_by_hangup(server: RealServer, job_id: str) -> dict[str, object]:
    job = server.ended(job_id)
    cancellation: dict[str, object] = job["cancellation"]
    assert (job["state"], cancellation["reason"]) == ("cancelled", "client_disconnected")
    assert (cancellation["proof"], cancellation["within_budget"]) == (DEFAULT_PROOF, True)
    return cancellation


@contextlib.contextmanager
def nothing_left(server: RealServer, job_id: str) -> Iterator[list[psutil.Process]]:
    """Yield a list for the block to fill. Every process in it must be gone within 2 s of the end of the block."""
    processes: list[psutil.Process] = []
    yield processes
    assert processes
    _, alive = psutil.wait_procs(processes, timeout=2.0)
    assert not alive


def tree(server: RealServer, job_id: str) -> list[psutil.Process]:
    rows = server.ask("GET", f"/jobs/{job_id}/processes").json["processes"]
    return [psutil.Process(row["pid"]) for row in rows]


@pytest.mark.parametrize("how", ["hang up", "cancel", "nothing"])
def test_the_time_in_which_the_server_was_deaf_counts(server: RealServer, how: str) -> None:
    """An event that the kernel holds while the server is stopped is dated back. The control, `nothing`, comes later."""
    job_id = f"deaf-{how.replace(' ', '-')}"
    with server.stream("POST", "/execute/stream", LONG | {"id": job_id}) as stream, server.connect() as other:
        stream.until('"text": "up')
        server.process.send_signal(signal.SIGSTOP)
        try:
            if how == "hang up":
                stream.sock.close()
            elif how == "cancel":
                other.sendall(server.head("POST", f"/jobs/{job_id}/cancel") + b"\r\n")
            threading.Event().wait(0.6)  # the stall under test: the server does not read for this long
        finally:
            server.process.send_signal(signal.SIGCONT)
        if how == "nothing":
            assert server.ask("GET", "/livez").status == 200  # the server reads again
            stream.sock.close()
        gone_ms = server.ended(job_id)["cancellation"]["gone_ms"]
    assert (gone_ms >= 590) is (how != "nothing"), gone_ms


@pytest.mark.parametrize("how", ["close", "reset", "shutdown"])
def test_a_client_that_hangs_up(server: RealServer, how: str) -> None:
    job_id = f"hangup-{how}"
    with (
        nothing_left(server, job_id) as processes,
        server.stream("POST", "/execute/stream", LONG | {"id": job_id}) as s,
    ):
        s.until('"text": "up')
        processes.extend(tree(server, job_id))
        match how:
            case "close":
                s.sock.close()
            case "reset":
                s.reset()
            case "shutdown":
                s.sock.shutdown(socket.SHUT_WR)
    cancelled_by_hangup(server, job_id)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_a_curl_that_is_killed(server: RealServer, sig: signal.Signals) -> None:
    job_id = f"curl-{sig.name}"
    command = ["curl", "-sN", f"{server.url}/execute/stream", "-H", f"Authorization: Bearer {server.token}"]
    curl = subprocess.Popen([*command, "--json", json.dumps(LONG | {"id": job_id})], stdout=subprocess.PIPE)
    assert curl.stdout is not None
    with curl.stdout, nothing_left(server, job_id) as processes:
        while b'"text": "up' not in curl.stdout.readline():
            assert curl.poll() is None
        processes.extend(tree(server, job_id))
        curl.send_signal(sig)
        curl.wait()
    cancelled_by_hangup(server, job_id)


def test_the_request_alone_is_enough(server: RealServer) -> None:
    """A client disconnects before it has read a byte. Its job may not have started, but must have ended."""
    for number in range(20):
        with server.connect() as sock:
            sock.sendall(server.stream_request(LONG | {"id": f"blind-{number}"}))
    for number in range(20):
        job = server.ended(f"blind-{number}")
        assert (job["state"], job["cancellation"]["reason"]) == ("cancelled", "client_disconnected")


def test_a_client_that_pipelined_a_request(server: RealServer) -> None:
    """The server must notice the end of a connection even after a further request on it."""
    for number, together in enumerate([True, False]):
        job_id = f"pipelined-{number}"
        more = server.head("GET", "/livez") + b"\r\n"
        with nothing_left(server, job_id) as processes:
            sock = server.connect()
            sock.sendall(server.stream_request(LONG | {"id": job_id}) + (more if together else b""))
            stream = RawStream(sock)
            stream.until('"text": "up')
            if not together:
                sock.sendall(more)
                stream.until(": hb")
            processes.extend(tree(server, job_id))
            sock.close()
            closed = time.monotonic()
        cancelled_by_hangup(server, job_id)
        # The end is noticed at once, and not when some later heartbeat fails.
        assert time.monotonic() - closed < 0.25


def test_a_client_that_pipelines_without_end_is_not_read_for_ever(server: RealServer) -> None:
    with server.stream("POST", "/execute/stream", LONG | {"id": "flooding"}) as stream:
        stream.until('"text": "up')
        stream.sock.settimeout(2.0)
        line = server.head("GET", "/livez") + b"\r\n"
        with pytest.raises(TimeoutError):
            send_without_end(stream.sock, line * 10)
        assert server.job("flooding")["state"] == "running"
    cancelled_by_hangup(server, "flooding")


def test_responses_to_pipelined_requests_come_in_order(server: RealServer) -> None:
    with server.connect() as sock:
        once = {"task": "shell", "input": {"command": "echo first"}, "id": "in-order"}
        sock.sendall(server.stream_request(once) + server.head("GET", "/jobs/in-order", "Connection: close") + b"\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    assert answer.index("job.succeeded") < answer.index('"state":"succeeded"')


def test_a_client_that_reads_slowly_is_not_one_that_vanished(server: RealServer) -> None:
    """`curl | less`: its window is closed for several timeouts, but its kernel acknowledges the probes."""
    sock = server.connect(receive_buffer=65536)
    printed = {"command": "yes 0123456789 | head -c 4000000; echo; echo up; sleep 60"}
    sock.sendall(server.stream_request({"task": "shell", "id": "slow", "input": printed}))
    with server.stream("GET", "/jobs/slow/events?after=5") as reader:
        reader.until("up\\r\\n")
        assert not reader.watch("cancel.requested", 4.0)
    stream = RawStream(sock)
    stream.until("up\\r\\n")
    assert "stream.gap" not in stream.text
    assert sum(event.get("text", "").count("0") for event in stream.events()) == pytest.approx(4_000_000 / 11, abs=2)
    sock.close()
    cancelled_by_hangup(server, "slow")


def test_a_slow_client_delays_no_other_client_and_misses_nothing(server: RealServer) -> None:
    """The job never waits for its readers. A slow reader gets the events that it missed from the journal."""
    sock = server.connect(receive_buffer=65536)
    printed = {"command": "yes 0123456789012345678901234567890123456789 | head -c 15000000"}
    sock.sendall(server.stream_request({"task": "shell", "id": "late", "input": printed}))
    assert RawStream(sock).status == 200
    assert server.ended("late")["state"] == "succeeded"
    stream = RawStream(sock, head="seen")
    stream.until("job.succeeded")
    numbers = [int(frame["id"]) for frame in stream.frames()[1:] if "id" in frame]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert "stream.gap" not in {frame["event"] for frame in stream.frames()[1:]}
    sock.close()


def test_a_stopped_client_is_not_one_that_vanished(server: RealServer) -> None:
    """Ctrl-Z stops the client, but its kernel continues to acknowledge."""
    job_id = "stopped-client"
    command = ["curl", "-sN", f"{server.url}/execute/stream", "-H", f"Authorization: Bearer {server.token}"]
    curl = subprocess.Popen([*command, "--json", json.dumps(LONG | {"id": job_id})], stdout=subprocess.PIPE)
    assert curl.stdout is not None
    with curl.stdout:
        while b'"text": "up' not in curl.stdout.readline():
            assert curl.poll() is None
        curl.send_signal(signal.SIGSTOP)
        threading.Event().wait(2.5)
        assert server.job(job_id)["state"] == "running"
        curl.kill()
        curl.wait()
    cancelled_by_hangup(server, job_id)


def test_hundreds_hang_up_at_once(server: RealServer) -> None:
    """Clients open a stream and abort it, as in an incident. No job may stay active."""
    sockets = []
    for number in range(30):
        sock = server.connect()
        sock.sendall(server.stream_request({"task": "shell", "id": f"mass-{number}", "input": {"command": "sleep 60"}}))
        sockets.append(sock)
    for sock in sockets[:15]:
        RawStream(sock).until("job.running")
    for sock in sockets:
        sock.close()
    for number in range(30):
        assert server.ended(f"mass-{number}")["state"] == "cancelled"
    assert server.active() == 0


def test_nothing_of_all_this_was_a_bug(server: RealServer) -> None:
    assert "Traceback" not in server.log.read_text()
