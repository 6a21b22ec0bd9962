"""How the server process starts, and the error that it prints when it cannot."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from supervisor.api.web.state_files import StateFiles
from supervisor.errors import StartupError
from tests.api.raw_stream import PATIENCE_S
from tests.api.wire import real_server, serving
from tests.support.server import serve_command, server_environment


def refusal(state_dir: Path, **settings: str) -> str:
    """Return the line that a server prints when it cannot start. It must be the only one, with exit code 1."""
    with serving(state_dir, **settings) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (1, "")
    assert err.count("\n") == 1, err
    assert err.startswith("deadstop: cannot "), err
    return err


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
        lines = [json.loads(line) for line in said.splitlines()]  # every line of the log is JSON, from any logger
        (banner,) = [line for line in lines if line["event"] == "serving"]
        assert banner["url"] == server.url
        assert banner["message"].startswith(f"deadstop: serving {server.url} ")
        assert str(state / "token") in banner["message"]
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
        assert "already uses it" in said
        assert server.url in said
        assert server.ask("GET", "/livez").status == 200
        # The server that was refused has not removed the note.
        assert (tmp_path / "state" / "server.json").exists()


def test_the_first_of_two_is_named_also_before_it_is_ready(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text('{"pid": 1, "url": "http://127.0.0.1:1"}')  # of one that was killed
    with StateFiles(tmp_path) as first:
        assert not (tmp_path / "server.json").exists()
        with pytest.raises(StartupError, match=rf"another server \(pid {os.getpid()}\) already"), StateFiles(tmp_path):
            pass
        first.note("http://127.0.0.1:2")
        with pytest.raises(StartupError, match=rf"\(pid {os.getpid()}, http://127.0.0.1:2\)"), StateFiles(tmp_path):
            pass
    with StateFiles(tmp_path):
        pass


def test_two_servers_on_one_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = server_environment(tmp_path)
        command = [word if word != "0" else str(port) for word in serve_command(tmp_path / "state")]
        ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "in use" in ended.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HOST": "192.0.2.1", "TOKEN": "t"}, "not one of this machine's"),
        ({"HOST": "no-such-host.invalid", "TOKEN": "t"}, "no-such-host.invalid:0"),
        ({"HOST": "0.0.0.0"}, "DEADSTOP_TOKEN"),
        ({"HOST": ""}, "DEADSTOP_TOKEN"),
        ({"PASS_ENV": "PATH,DEADSTOP_TOKENS"}, "DEADSTOP_PASS_ENV"),
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
