"""The life of the server process: start, refusals to start, and the three signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, AnyStr

import pytest

from tests.api.wire import PATIENCE_S, RealServer, real_server
from tests.support.levels import DEFAULT_PROOF
from tests.support.observer import snapshot
from tests.support.server import serve_command, server_environment

ONE_SECOND = 1.0
LOOKS_BEFORE_START_S = 0.8
"""What importing everything may take on a busy machine; the bound of a second counts from there."""


@contextmanager
def serving(state_dir: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    env = server_environment(Path("/nonexistent"), **{f"DEADSTOP_{name}": v for name, v in settings.items()})
    process = subprocess.Popen(
        serve_command(state_dir), env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE_S)


def banner(stderr: IO[AnyStr]) -> AnyStr:
    """The line that a server says once it is ready; log lines may come before."""
    return next(line for line in stderr if line[:9] in ("deadstop:", b"deadstop:"))


def refusal(state_dir: Path, **settings: str) -> str:
    """The line that a server which cannot start says. It must be the only one, with exit code 1."""
    with serving(state_dir, **settings) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (1, "")
    assert err.count("\n") == 1, err
    assert err.startswith("deadstop: cannot "), err
    return err


# --- start


def test_the_state_folder_is_private_and_says_where_the_server_is(tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    with real_server(state) as server:
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert stat.S_IMODE((state / "token").stat().st_mode) == 0o600
        note = json.loads((state / "server.json").read_text())
        assert note == {"pid": server.process.pid, "url": server.url}
        assert len(server.token) >= 32
        first_token = server.token
        said = server.log.read_text()
        (banner,) = [line for line in said.splitlines() if line.startswith("deadstop: ")]
        assert server.url in banner
        assert str(state / "token") in banner
        assert first_token not in said
        assert server.ask("GET", "/readyz").status == 200
    assert not (state / "server.json").exists()
    with real_server(state) as again:
        assert again.token == first_token


def test_a_given_token_wins_and_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "token").write_text("old\n")
    with real_server(tmp_path / "state", TOKEN="s3cret") as server:
        assert server.token == "s3cret"
        assert server.ask("GET", "/jobs").status == 200
        assert (tmp_path / "state" / "token").read_text() == "old\n"
        assert "s3cret" not in server.log.read_text()


def test_ipv6(tmp_path: Path) -> None:
    with real_server(tmp_path / "state", HOST="::1") as server:
        assert server.url.startswith("http://[::1]:")
        assert server.ask("GET", "/health").json["status"] == "ok"


def test_two_servers_in_one_state_folder(tmp_path: Path) -> None:
    with real_server(tmp_path / "state") as server:
        said = refusal(tmp_path / "state")
        assert "another server" in said
        assert "already uses this STATE_DIR" in said
        assert server.url in said
        assert server.ask("GET", "/livez").status == 200
        # The refused one has not taken the note away.
        assert (tmp_path / "state" / "server.json").exists()


def test_two_servers_on_one_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = server_environment(tmp_path)
        command = [word if word != "0" else str(port) for word in serve_command(tmp_path / "state")]
        began = time.monotonic()
        ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        took_s = time.monotonic() - began
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "in use" in ended.stderr
    assert took_s < LOOKS_BEFORE_START_S + ONE_SECOND


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HOST": "192.0.2.1", "TOKEN": "t"}, "not one of this machine's"),
        ({"HOST": "no-such-host.invalid", "TOKEN": "t"}, "no-such-host.invalid:0"),
        ({"HOST": "0.0.0.0"}, "DEADSTOP_TOKEN"),
        ({"CANCEL_BUDGET_S": "0.1"}, "CANCEL_BUDGET_S"),
        ({"CONTAINMENT": "handcuffs"}, "CONTAINMENT"),
    ],
)
def test_bad_settings(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    assert said in refusal(tmp_path / "state", **settings)


def test_a_state_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "STATE_DIR" in refusal(tmp_path / "file")
    assert "STATE_DIR" in refusal(tmp_path / "file" / "below")


# --- end


@pytest.mark.parametrize(("sig", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)])
def test_an_idle_server_ends_at_once(tmp_path: Path, sig: signal.Signals, code: int) -> None:
    with real_server(tmp_path / "state") as server, server.connect(), snapshot(server.process.pid) as family:
        server.process.send_signal(sig)
        began = time.monotonic()
        assert server.process.wait(PATIENCE_S) == code
        assert time.monotonic() - began < ONE_SECOND
        assert not family.wait_gone(time.monotonic() + ONE_SECOND)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("delay_ms", [0, 50, 150, 300, 450, 600, 900, 1300])
def test_ctrl_c_at_any_moment_of_the_start(tmp_path: Path, delay_ms: int) -> None:
    with serving(tmp_path / "state") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(delay_ms / 1000)
        with snapshot(process.pid) as family:
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            _, err = process.communicate(timeout=PATIENCE_S)
            took_s = time.monotonic() - began
            assert not family.wait_gone(time.monotonic() + ONE_SECOND)
    assert "Traceback" not in err
    # -SIGINT: so early that Python itself was not up yet.
    assert process.returncode in {130, -signal.SIGINT}
    assert took_s < ONE_SECOND


def stubborn(server: RealServer, job_id: str) -> None:
    """A job that gives way to SIGKILL only."""
    command = "trap '' TERM HUP INT; (trap '' TERM HUP INT; setsid sleep 63) & echo up; while :; do sleep 1; done"
    server.run(command, id=job_id)
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "up')


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
            # While the stubborn ones are being stopped: no new work, but everything else answers.
            refused = server.ask("POST", "/jobs", {"task": "shell", "input": {"command": "true"}})
            assert (refused.status, refused.problem) == (503, "not-ready")
            assert int(refused.headers["retry-after"]) >= 1
            not_ready = server.ask("GET", "/readyz?verbose", token=False)
            assert (not_ready.status, not_ready.json["checks"]["accepting"]["ok"]) == (503, False)
            assert server.ask("GET", "/health").json["status"] == "down"
            assert server.ask("GET", "/livez").status == 200
            follower.read_to_end()
            feed.read_to_end()
            holder.read_to_end()
            assert idle.recv(1) == b""
            assert server.process.wait(PATIENCE_S) == 0
            took_s = time.monotonic() - began
            assert not family.wait_gone(time.monotonic() + 0.5)
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
            assert time.monotonic() - began < 1.5
            assert not family.wait_gone(time.monotonic() + 0.5)
        assert stream.events()[-1]["cancellation"]["force"] is True


def test_a_third_signal_leaves_at_once_and_the_guardians_finish(tmp_path: Path) -> None:
    with real_server(tmp_path / "state", CANCEL_BUDGET_S="20") as server:
        stubborn(server, "stubborn")
        with snapshot(server.process.pid) as family:
            # Stopped for a moment, so that the three are there together.
            for sig in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCONT):
                server.process.send_signal(sig)
            began = time.monotonic()
            assert server.process.wait(PATIENCE_S) > 128
            assert time.monotonic() - began < 0.5
            assert not family.wait_gone(time.monotonic() + 2.0)
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


def test_inherited_signal_settings_do_not_matter(tmp_path: Path) -> None:
    """Started by a parent that ignored SIGCHLD, blocked signals, and under nohup."""
    state = tmp_path / "state"
    script = "import os, signal, sys\n"
    script += "signal.signal(signal.SIGCHLD, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    script += "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT, signal.SIGCHLD])\n"
    script += "os.execv(sys.argv[1], sys.argv[1:])"
    command = serve_command(state)
    process = subprocess.Popen(
        [command[0], "-c", script, *command], env=server_environment(tmp_path), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        line = banner(process.stderr)
        url = json.loads((state / "server.json").read_text())["url"]
        assert url in line
        server = RealServer(process, url, (state / "token").read_text().strip(), state, state / "none")  # type: ignore[arg-type]
        assert server.ended(server.run("false"))["error"]["exit_code"] == 1
        process.send_signal(signal.SIGHUP)
        assert server.ask("GET", "/livez").status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_standard_error_that_nobody_reads_does_not_stop_the_server(tmp_path: Path) -> None:
    state = tmp_path / "state"
    process = subprocess.Popen(serve_command(state), env=server_environment(tmp_path), stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        # The pipe is made as small as it can be, and filled by the log of the jobs.
        import fcntl

        fcntl.fcntl(process.stderr, 1031, 4096)
        assert b"deadstop: serving" in banner(process.stderr)
        note = json.loads((state / "server.json").read_text())
        server = RealServer(process, note["url"], (state / "token").read_text().strip(), state, state)
        for number in range(40):
            server.ended(server.run("true", id=f"logged-{number}"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_standard_error_may_be_closed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" 2>&- >&- <&-', "sh", *serve_command(state)], env=server_environment(tmp_path)
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (state / "server.json").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            os.sched_yield()
        note = json.loads((state / "server.json").read_text())
        server = RealServer(process, note["url"], (state / "token").read_text().strip(), state, state)
        assert server.ended(server.run("echo x"))["state"] == "succeeded"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
