"""The server works the same whatever state it inherits, and whether or not its output is read."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.api.raw_stream import PATIENCE_S
from tests.api.wire import RealServer
from tests.support.server import serve_command, server_environment


def banner(stderr: Any) -> Any:
    """Return the line that a server prints once it is ready. Log lines may precede it."""
    return next(line for line in stderr if "serving" in str(line))


@contextmanager
def started(command: list[str], tmp_path: Path, **popen: Any) -> Iterator[subprocess.Popen[Any]]:
    """Yield a server process. It ends in order if the test passes, and is killed if the test fails."""
    process = subprocess.Popen(command, env=server_environment(tmp_path), **popen)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def reached(process: subprocess.Popen[Any], state: Path) -> RealServer:
    """Return the server that has written its URL into STATE_DIR."""
    url = json.loads((state / "server.json").read_text())["url"]
    return RealServer(process, url, (state / "token").read_text().strip(), state, state / "none")


def test_inherited_signal_settings_do_not_matter(tmp_path: Path) -> None:
    """The server is started under nohup, by a parent that ignored SIGCHLD and blocked signals."""
    script = "import os, signal, sys\n"
    script += "signal.signal(signal.SIGCHLD, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    script += "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT, signal.SIGCHLD])\n"
    script += "os.execv(sys.argv[1], sys.argv[1:])"
    command = serve_command(tmp_path / "state")
    with started([command[0], "-c", script, *command], tmp_path, stderr=subprocess.PIPE, text=True) as process:
        line = banner(process.stderr)
        server = reached(process, tmp_path / "state")
        assert server.url in line
        assert server.ended(server.run("false"))["error"]["exit_code"] == 1
        process.send_signal(signal.SIGHUP)
        assert server.ask("GET", "/livez").status == 200


def test_a_standard_error_without_a_reader_does_not_stop_the_server(tmp_path: Path) -> None:
    with started(serve_command(tmp_path / "state"), tmp_path, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        # The pipe has the smallest possible size, and the log of the jobs fills it.
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        assert b"deadstop: serving" in banner(process.stderr)
        server = reached(process, tmp_path / "state")
        for number in range(40):
            server.ended(server.run("true", id=f"logged-{number}"))


def test_standard_error_may_be_closed(tmp_path: Path) -> None:
    command = ["sh", "-c", 'exec "$@" 2>&- >&- <&-', "sh", *serve_command(tmp_path / "state")]
    with started(command, tmp_path) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not (tmp_path / "state" / "server.json").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            os.sched_yield()
        server = reached(process, tmp_path / "state")
        assert server.ended(server.run("echo x"))["state"] == "succeeded"
