"""What the server process inherits, and whether anybody reads what it says, does not matter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, AnyStr

from tests.api.wire import PATIENCE_S, RealServer
from tests.support.server import serve_command, server_environment


def banner(stderr: IO[AnyStr]) -> AnyStr:
    """The line that a server says once it is ready; log lines may come before."""
    return next(line for line in stderr if line[:9] in ("deadstop:", b"deadstop:"))


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
