"""Starting the command: it ends cleanly on Ctrl-C, starts quickly, and local modules cannot shadow its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.cli import app
from supervisor.config import Settings
from tests.support.cli import PATIENCE_S, environment, started, words


def test_ctrl_c_during_the_start_is_one_line(tmp_path: Path) -> None:
    # As run_api.sh does: blocked while Python itself starts, so that it is delivered once our handler is there.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen(
            words("tasks"), env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (130, "", "deadstop: interrupted\n")


def test_the_installed_command_becomes_python_m_supervisor(tmp_path: Path) -> None:
    script = "import sys; sys.argv = ['deadstop', '--version']; from supervisor.launcher import main; main()"
    env = environment(tmp_path)
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("deadstop ")


def test_files_of_the_users_do_not_take_the_place_of_ours(tmp_path: Path) -> None:
    for name in ("supervisor.py", "runner.py", "typer.py"):
        (tmp_path / name).write_text("raise SystemExit('shadowed')\n")
    with started("--version", env=environment(tmp_path), cwd=tmp_path) as process:
        assert process.communicate(timeout=PATIENCE_S)[0].startswith("deadstop ")


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys; from supervisor.cli.app import main; main(['--help']);"
        "heavy = ('httpx', 'asyncio', 'pydantic', 'uvicorn', 'starlette', 'rich.console');"
        "print([m for m in heavy if m in sys.modules])"
    )
    env = environment(tmp_path)
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_a_command_in_a_pipe_loads_nothing_that_draws(tmp_path: Path) -> None:
    script = (
        "import sys; from supervisor.cli.app import main; main(['ps', '--url', 'http://127.0.0.1:1']);"
        "print([m for m in ('rich.console', 'pygments', 'uvicorn', 'starlette', 'structlog') if m in sys.modules],"
        " 'httpx' in sys.modules)"
    )
    env = environment(tmp_path, DEADSTOP_TOKEN="t")
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[] True\n"), done.stderr


def test_missing_standard_streams_cause_no_traceback(tmp_path: Path) -> None:
    line = " ".join([*words("--version"), ">&-", "2>&-", "<&-"])
    done = subprocess.run(["/bin/sh", "-c", line], env=environment(tmp_path), capture_output=True, check=False)
    assert done.returncode == 0


FLAGS: dict[str, object] = {
    "host": "::1",
    "port": 9001,
    "max_running": 3,
    "max_queued": 4,
    "cancel_budget_s": 5.0,
    "warm": 1,
    "containment": "subreaper",
    "engine": "local",
    "run_as": "nobody",
    "tasks": ("a", "b", "c"),
    "tasks_off": ("b",),
    "allowed_hosts": ("x.test",),
    "pass_env": ("LANG",),
    "vanished_after_s": 2.0,
    "frozen_after_s": 5.0,
    "stuck_after_s": 20.0,
    "stuck_no_event_s": 60.0,
    "stuck_action": "cancel",
    "import_s": 9.0,
    "agent_model": "openai:m",
    "agent_base_url": "http://127.0.0.1:1/v1",
    "agent_key_env": "PATH",
    "agent_max_steps": 5,
    "agent_max_tokens": 6,
    "agent_time_s": 7.0,
    "agent_silence_s": 8.0,
    "keep_jobs": 7,
    "keep_s": 60.0,
    "keep_bytes": 2**24,
}


def test_every_setting_but_the_token_is_a_flag_of_serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    got: list[Settings] = []

    def serve(settings: Settings) -> int:
        got.append(settings)
        return 0

    monkeypatch.setattr("supervisor.server.serve", serve)
    for name in [name for name in os.environ if name.startswith("DEADSTOP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    flags = FLAGS | {"state_dir": tmp_path}
    # A token on a command line could be read by every user of the machine.
    assert set(flags) == set(Settings.model_fields) - {"token", "tokens"}
    argv = ["serve", "--tasks", "a,b", "--tasks", "c"]
    for name, value in flags.items():
        if name != "tasks":
            text = value[0] if isinstance(value, tuple) else str(value)
            argv += [f"--{name.replace('_', '-')}", text]
    assert app.main(argv) == 0
    assert {name: getattr(got[0], name) for name in flags} == flags


def test_help_shows_each_setting_with_its_help_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["serve", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        if name not in {"token", "tokens"}:
            assert f"--{name.replace('_', '-')}" in shown
            assert field.description
            assert field.description in shown
    assert "--token" not in shown
    for line in (
        "--config FILE A deadstop.toml.",
        "--port <int> Port; 0 picks a free one. [8700]",
        "--state-dir DIR Journal, token, workspaces. [the user's state folder]",
        "--tasks MODULE Task modules, comma separated or repeated. --",
        "--cancel-budget-s, --cancel-budget S From cancel to proof. [2]",
        "--keep-s S How long to keep finished jobs. [604800]",
        "--run-as USER User that jobs run as, when the server is root. --",
        "--stuck-after-s S When a silent runner counts as stuck, or off. [30]",
        "--stuck-no-event-s S When a silent task counts as stuck, or off. [off]",
        "--stuck-action report|cancel What happens to a stuck job. [report]",
    ):
        assert line in shown


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ("--port abc", 2, "Invalid value for '--port'"),
        ("--keep-s no", 2, "Invalid value for '--keep-s'"),
        ("--stuck-after-s x", 1, "cannot use DEADSTOP_STUCK_AFTER_S"),
        ("--cancel-budget 0.1", 1, "cannot use DEADSTOP_CANCEL_BUDGET_S"),
        ("--token secret", 2, "No such option: --token"),
        ("--tasks", 2, "Option '--tasks' requires an argument"),
        ("extra", 2, "Got unexpected extra argument"),
    ],
)
def test_a_wrong_option_is_one_line(argv: str, code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["serve", *argv.split()]) == code
    err = capsys.readouterr().err
    assert err.startswith(f"deadstop: {words}")
    assert err.count("\n") == 1


def test_a_bad_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("supervisor.server.serve", lambda _settings: 0)
    assert app.main(["serve", "--warm", "-1"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("deadstop: cannot use ")
    assert err.count("\n") == 1
