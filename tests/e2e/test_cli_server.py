"""The command line against the real server, as a user has them: two processes, one state folder."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.cli import PATIENCE_S, environment, on_terminal, started, words
from tests.support.levels import DEFAULT_PROOF
from tests.support.server import RunningServer, running_server

TREE = "sh -c 'sleep 1000 & exec sleep 1000' & setsid sleep 1000 & echo started; wait"
STUBBORN = "trap '' TERM; echo started; while :; do sleep 0.1; done"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("cli") / "state") as running:
        yield running


@pytest.fixture
def env(server: RunningServer) -> dict[str, str]:
    """Only the state folder: address and token are found there."""
    return environment(server.state_dir)


def cli(*argv: str, env: dict[str, str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words(*argv), env=env, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def answer(server: RunningServer, path: str) -> dict[str, Any]:
    found: dict[str, Any] = server.http.get(path, headers={"Connection": "close"}).json()
    return found


def test_output_result_and_exit_code(env: dict[str, str], tmp_path: Path) -> None:
    done = cli("run", "shell", "pwd; echo to stderr >&2; seq 20000", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    numbers = "\n".join(map(str, range(1, 20001)))
    assert done.stdout == f"{tmp_path}\nto stderr\n{numbers}\n"
    assert done.stderr.splitlines()[-1].startswith("deadstop: succeeded (")
    failed = cli("run", "shell", "exit 7", env=env)
    assert failed.returncode == 1
    assert "exit code 7" in failed.stderr.splitlines()[-1]


def test_ctrl_c_ends_the_whole_tree_with_a_proof(server: RunningServer, env: dict[str, str]) -> None:
    with started("run", "shell", TREE, "--id", "tree", env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        pids = [row["pid"] for row in answer(server, "/jobs/tree/processes")["processes"]]
        tree = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
        assert len(tree) >= 4
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
        took_s = time.monotonic() - before
    assert process.returncode == 130
    assert f"proof {DEFAULT_PROOF}" in err.splitlines()[-1]
    assert not [one for one in tree if one.is_running()]
    assert took_s < 2.5


def test_the_second_ctrl_c_kills_what_ignores_the_first(server: RunningServer, env: dict[str, str]) -> None:
    with on_terminal("run", "shell", STUBBORN, "--id", "stubborn", env=env) as terminal:
        terminal.read_until("started")
        terminal.press("c")
        terminal.read_until("Ctrl-C again kills")
        terminal.press("c")
        assert terminal.read_to_end() == 130
    assert "■ cancelled" in terminal.screen
    cancellation = answer(server, "/jobs/stubborn")["cancellation"]
    assert cancellation["force"] is True
    assert cancellation["method"] == "sigkill"
    assert cancellation["detail"] == "Ctrl-C"


def test_a_reader_who_leaves_cancels(server: RunningServer, env: dict[str, str]) -> None:
    line = f"{' '.join(words('run', 'shell', 'yes', '--id', 'flood'))} | head -2; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["/bin/bash", "-c", line], env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stdout == "y\ny\n141\n"
    assert answer(server, "/jobs/flood")["state"] == "cancelled"


def test_a_job_out_of_time(env: dict[str, str]) -> None:
    done = cli("run", "shell", "sleep 1000", "--timeout", "0.3", env=env)
    assert done.returncode == 124
    assert "timed out (out of time): everything gone" in done.stderr


def test_the_life_of_a_detached_job(env: dict[str, str]) -> None:
    job_id = cli("run", "shell", "echo hello; sleep 1000", "--detach", "--label", "team=a", env=env).stdout.strip()
    assert job_id in cli("ps", "--label", "team=a", env=env).stdout
    assert "state\trunning" in cli("show", job_id, env=env).stdout
    with started("events", job_id, "--json", env=env) as following:
        cancelled = cli("cancel", job_id, env=env)
        out, _ = following.communicate(timeout=PATIENCE_S)
    assert cancelled.returncode == 0
    assert "cancelled (on request): everything gone" in cancelled.stdout
    assert [json.loads(line)["type"] for line in out.splitlines()][-1] == "job.cancelled"
    assert following.returncode == 0
    shown = cli("show", job_id, env=env).stdout
    assert f"proof\t{DEFAULT_PROOF}" in shown
    assert job_id not in cli("ps", env=env).stdout


@pytest.mark.parametrize(
    ("argv", "code", "line"),
    [
        (["run", "shel", "ls"], 2, "deadstop: unknown task 'shel': did you mean shell?\n"),
        (["run", "demo", "--input", '{"steps": "3"}'], 2, "deadstop: input.steps: "),
        (["run", "shell", "--input", '{"command": "ls", "colour": 1}'], 2, "deadstop: input.colour: "),
        (["run", "shell", "ls", "--id", "not an id"], 2, "deadstop: id: "),
        (["show", "nobody"], 2, "deadstop: "),
        (["ps", "--state", "nonsense"], 2, "deadstop: state: "),
    ],
)
def test_what_the_server_refuses_is_one_line(env: dict[str, str], argv: list[str], code: int, line: str) -> None:
    done = cli(*argv, env=env)
    assert done.returncode == code
    assert done.stderr.startswith(line), done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_token(env: dict[str, str]) -> None:
    done = cli("ps", env=env | {"DEADSTOP_TOKEN": "wrong"})
    assert done.returncode == 4
    assert "refused the token from DEADSTOP_TOKEN" in done.stderr


def test_health(env: dict[str, str]) -> None:
    done = cli("health", env=env)
    assert done.returncode == 0
    assert done.stdout.startswith("DEADSTOP OK - ")
    assert cli("tasks", env=env).stdout.count("\n") >= 3


def test_a_server_that_is_killed_is_reported(tmp_path: Path) -> None:
    sleeper = ("run", "shell", "echo started; sleep 1000", "--id", "orphan")
    state_dir = tmp_path / "state"
    with running_server(state_dir) as server, started(*sleeper, env=environment(state_dir)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        server.kill()
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 4
    assert "lost the server at" in err.splitlines()[-1]
    assert "deadstop show orphan" in err.splitlines()[-1]


def test_a_server_that_is_stopped_stops_the_job_and_says_so(tmp_path: Path) -> None:
    sleeper = ("run", "shell", "echo started; sleep 1000")
    state_dir = tmp_path / "state"
    with running_server(state_dir) as server, started(*sleeper, env=environment(state_dir)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        server.process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "cancelled (server shutting down): everything gone" in err
