"""The way from the command's name to its code: clean under Ctrl-C, quick, and not to be shadowed."""

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
    script = "import sys; sys.argv = ['deadstop', '--version']; from supervisor.shim import main; main()"
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
        "print([m for m in ('httpx', 'pydantic', 'uvicorn', 'starlette', 'rich.console') if m in sys.modules])"
    )
    env = environment(tmp_path)
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_missing_standard_streams_are_no_traceback(tmp_path: Path) -> None:
    line = " ".join([*words("--version"), ">&-", "2>&-", "<&-"])
    done = subprocess.run(["/bin/sh", "-c", line], env=environment(tmp_path), capture_output=True, check=False)
    assert done.returncode == 0


def test_every_setting_but_the_token_is_a_flag_of_serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    got: list[Settings] = []

    def serve(settings: Settings) -> int:
        got.append(settings)
        return 0

    monkeypatch.setattr("supervisor.api.server.serve", serve)
    for name in [name for name in os.environ if name.startswith("DEADSTOP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    flags = {
        "host": "::1",
        "port": 9001,
        "state_dir": tmp_path,
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
    # A token on a command line could be read by every user of the machine.
    assert set(flags) == set(Settings.model_fields) - {"token", "tokens"}
    argv = ["serve", "--tasks", "a,b", "--tasks", "c"]
    for name, value in flags.items():
        if name != "tasks":
            text = value[0] if isinstance(value, tuple) else str(value)
            argv += [f"--{name.replace('_', '-')}", text]
    assert app.main(argv) == 0
    assert {name: getattr(got[0], name) for name in flags} == flags


def test_a_bad_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("supervisor.api.server.serve", lambda _settings: 0)
    assert app.main(["serve", "--warm", "-1"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("deadstop: cannot use ")
    assert err.count("\n") == 1
