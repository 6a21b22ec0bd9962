"""How the server process ends: one signal stops its jobs, the second kills them, the third leaves at once."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.api.raw_stream import PATIENCE_S
from tests.api.wire import RealServer, real_server, serving
from tests.support.levels import DEFAULT_PROOF
from tests.support.observer import snapshot

BUDGET_S = 2.0
"""The time a stop may take, which is the only time that is promised. Everything else is awaited with PATIENCE_S."""
FORCED_S = 5.0
"""Less than half of the time that the graceful phase takes with a budget of 20 s."""


@pytest.mark.parametrize(("sig", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)])
def test_an_idle_server_ends_at_once(tmp_path: Path, sig: signal.Signals, code: int) -> None:
    with real_server(tmp_path / "state") as server, server.connect(), snapshot(server.process.pid) as family:
        server.process.send_signal(sig)
        deadline = time.monotonic() + BUDGET_S
        assert server.process.wait(PATIENCE_S) == code
        assert time.monotonic() < deadline
        assert not family.wait_gone(time.monotonic() + BUDGET_S)
    assert "Traceback" not in server.log.read_text()


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Block SIGINT here, so that servers started meanwhile inherit it, as from run_api.sh and `deadstop`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize("delay_ms", [0, 50, 150, 300, 450, 600, 900, 1300])
def test_ctrl_c_at_any_moment_of_the_start(tmp_path: Path, delay_ms: int) -> None:
    with ExitStack() as stack:
        with interrupts_held():
            process = stack.enter_context(serving(tmp_path / "state"))
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(delay_ms / 1000)
        with snapshot(process.pid) as family:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE_S)
            assert not family.wait_gone(time.monotonic() + PATIENCE_S)
    assert "Traceback" not in err
    assert process.returncode == 130


def stubborn(server: RealServer, job_id: str) -> None:
    """A job that only SIGKILL ends."""
    command = "trap '' TERM HUP INT; (trap '' TERM HUP INT; setsid sleep 63) & echo up; while :; do sleep 1; done"
    server.run(command, id=job_id)
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "up')


def check_only_new_work_is_refused(server: RealServer) -> None:
    refused = server.ask("POST", "/jobs", {"task": "shell", "input": {"command": "true"}})
    assert (refused.status, refused.problem) == (503, "not-ready")
    assert int(refused.headers["retry-after"]) >= 1
    not_ready = server.ask("GET", "/readyz?verbose", token=False)
    assert (not_ready.status, not_ready.json["checks"]["accepting"]["ok"]) == (503, False)
    assert server.ask("GET", "/health").json["status"] == "down"
    assert server.ask("GET", "/livez").status == 200


def test_shutdown_stops_the_jobs_and_tells_every_stream_how(tmp_path: Path) -> None:
    """Streams run to their terminal event before connections are closed, all within the budget."""
    with real_server(tmp_path / "state") as server:
        for number in range(5):
            stubborn(server, f"stubborn-{number}")
        with (
            server.stream("GET", "/jobs/stubborn-0/events") as follower,
            server.stream("POST", "/execute/stream", {"task": "shell", "input": {"command": "sleep 64"}}) as holder,
            server.stream("GET", "/events") as feed,
            server.connect() as idle,
            snapshot(server.process.pid) as family,
        ):
            follower.until('"text": "up')
            holder.until("job.running")
            feed._until(lambda: bool(feed.head))
            server.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            holder.until("job.cancelled")
            check_only_new_work_is_refused(server)  # while the jobs that ignore SIGTERM are being stopped
            follower.read_to_end()
            feed.read_to_end()
            holder.read_to_end()
            assert idle.recv(1) == b""
            assert server.process.wait(PATIENCE_S) == 0
            took_s = time.monotonic() - began
            assert not family.wait_gone(time.monotonic() + BUDGET_S)
        last = follower.events()[-1]
        assert last["type"] == "job.cancelled"
        assert (last["cancellation"]["reason"], last["cancellation"]["proof"]) == ("shutdown", DEFAULT_PROOF)
        assert holder.events()[-1]["type"] == "job.cancelled"
        assert feed.frames()[-1]["event"] == "stream.closing"
        assert sum(frame["event"] == "job.cancelled" for frame in feed.frames()) == 6
        assert took_s < 2.5
        assert "Traceback" not in server.log.read_text()


def test_a_second_signal_kills(tmp_path: Path) -> None:
    with real_server(tmp_path / "state", CANCEL_BUDGET_S="20") as server:
        stubborn(server, "stubborn")
        with server.stream("GET", "/jobs/stubborn/events") as stream, snapshot(server.process.pid) as family:
            stream.until('"text": "up')
            server.process.send_signal(signal.SIGINT)
            stream.until("cancel.requested")
            server.process.send_signal(signal.SIGINT)
            began = time.monotonic()
            stream.until("job.cancelled")
            assert server.process.wait(PATIENCE_S) == 130
            assert time.monotonic() - began < FORCED_S
            assert not family.wait_gone(time.monotonic() + BUDGET_S)
        assert stream.events()[-1]["cancellation"]["force"] is True


def test_a_third_signal_leaves_at_once_and_the_guardians_finish(tmp_path: Path) -> None:
    with real_server(tmp_path / "state", CANCEL_BUDGET_S="20") as server:
        stubborn(server, "stubborn")
        with snapshot(server.process.pid) as family:
            # The server is stopped for a moment, so that the three signals are pending together.
            for sig in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCONT):
                server.process.send_signal(sig)
            began = time.monotonic()
            assert server.process.wait(PATIENCE_S) > 128
            assert time.monotonic() - began < FORCED_S
            assert not family.wait_gone(time.monotonic() + BUDGET_S)
        assert "left at once" in server.log.read_text()
    assert (tmp_path / "state" / "workspaces" / "stubborn").exists()
    with real_server(tmp_path / "state"):
        assert not (tmp_path / "state" / "workspaces" / "stubborn").exists()


def test_a_client_that_reads_nothing_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with real_server(tmp_path / "state") as server, server.connect(receive_buffer=4096) as deaf:
        noisy = {"task": "shell", "id": "noisy", "input": {"command": "yes | head -c 9000000; sleep 65"}}
        deaf.sendall(server.stream_request(noisy))
        with server.stream("GET", "/jobs/noisy/events?after=1") as reader:
            reader._until(lambda: len(reader.text) > 7_000_000)
            server.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            reader.read_to_end()
        assert server.process.wait(PATIENCE_S) == 0
        assert time.monotonic() - began < 2.5
    assert "Traceback" not in server.log.read_text()


def test_a_wait_for_a_job_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with real_server(tmp_path / "state") as server:
        stubborn(server, "stubborn")
        replies = []
        asking = threading.Thread(target=lambda: replies.append(server.ask("POST", "/jobs/stubborn/cancel?wait=30")))
        asking.start()
        with server.stream("GET", "/jobs/stubborn/events") as stream:
            stream.until("cancel.requested")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 0
        asking.join(PATIENCE_S)
    assert [reply.json["state"] for reply in replies] == ["cancelled"]
