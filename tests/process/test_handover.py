"""A job starts as a login session does: it inherits nothing from the server but the allow-list."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.jobs.model import State
from supervisor.node.workers.server_forkserver import pid as forkserver_pid
from supervisor.server import supervisor_of
from tests.support.core import ended, output, running, scenario, submit, until

SECRET = "swordfish-9f2c"

LOOK = "grep -E 'Sig(Ign|Blk)' /proc/self/status; ls /proc/self/fd | tr '\\n' ' '; test -t 1 && echo A-TTY"

PROBE = '''
"""A task module for this test: says what it finds around itself."""
import json, os, signal, subprocess, sys, tempfile, random
from multiprocessing import forkserver
from runner import Context, task

def link(path: str) -> str:
    return os.readlink(path) if os.path.lexists(path) else ""

@task
def probe(ctx: Context) -> dict:
    """Look around."""
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    return {
        "environ": dict(os.environ),
        "initial_environ": open("/proc/self/environ", "rb").read().decode(),
        "modules": sorted(sys.modules),
        "fds": [link(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")],
        "child_fds": subprocess.run(["ls", "/proc/self/fd"], capture_output=True, text=True).stdout.split(),
        "ignored": status["SigIgn"].strip(), "blocked": status["SigBlk"].strip(),
        "false": subprocess.run(["false"]).returncode,
        "home": os.path.realpath(os.environ["HOME"]),
        "cwd": os.getcwd(), "tmp": tempfile.gettempdir(),
        "sid": os.getsid(0), "pgid": os.getpgid(0), "pid": os.getpid(), "ppid": os.getppid(),
        "core": __import__("resource").getrlimit(__import__("resource").RLIMIT_CORE),
        "oom": int(open("/proc/self/oom_score_adj").read()),
        "random": random.random(),
        "main": getattr(sys.modules["__main__"], "__file__", None),
    }
'''


def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[dict[str, Any]]:
    (tmp_path / "probe_tasks.py").write_text(PROBE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DEADSTOP_TEST_SECRET", SECRET)
    found: list[dict[str, Any]] = []

    async def body() -> None:
        async with running(tmp_path / "state", tasks=("probe_tasks",), **settings) as supervisor:
            for _ in range(2):
                record = await ended(submit(supervisor, "probe"))
                assert record.job.state is State.SUCCEEDED, record.job.error
                found.append(record.job.result)
            forkserver = Path(f"/proc/{forkserver_pid()}/environ").read_bytes().decode()
            assert SECRET not in forkserver

    scenario(body)
    return found


def test_what_a_task_finds_around_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = look(tmp_path, monkeypatch)
    assert SECRET not in json.dumps(first)
    assert os.environ["DEADSTOP_TEST_SECRET"] == SECRET  # and the server's own environment was given back
    assert first["home"].startswith(str(tmp_path / "state" / "workspaces"))
    assert first["cwd"].startswith(str(tmp_path / "state" / "workspaces"))
    assert first["tmp"] == first["environ"]["TMPDIR"]
    assert first["child_fds"] == ["0", "1", "2", "3"]  # 3 is the listing itself
    elsewhere = [name for name in first["fds"] if name.startswith("/") and not name.startswith(("/dev/null", "/proc"))]
    assert elsewhere == []
    python_ignores = (1 << (signal.SIGPIPE - 1)) | (1 << (signal.SIGXFSZ - 1))
    assert int(first["ignored"], 16) == python_ignores
    assert int(first["blocked"], 16) == 0
    assert first["false"] == 1
    # A session's leader would get the first terminal that it opens by name, and SIGHUP with that terminal's end.
    assert first["sid"] == first["ppid"]
    assert first["pgid"] == first["pid"]
    assert first["core"][0] == 0
    assert first["oom"] == 500
    assert first["random"] != second["random"]


def test_the_server_is_not_in_the_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, _) = look(tmp_path, monkeypatch)
    strangers = (
        "supervisor.api",
        "supervisor.core",
        "supervisor.cli",
        "starlette",
        "uvicorn",
        "sse_starlette",
        "structlog",
        "pytest",
    )
    assert [name for name in first["modules"] if name.startswith(strangers)] == []
    assert first["main"] is None
    assert "runner.tasks.shell" in first["modules"]  # preloaded by the forkserver, not imported per job


def test_names_in_pass_env_are_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANTED_BY_JOBS", "yes")
    (first, _) = look(tmp_path, monkeypatch, pass_env=("WANTED_BY_JOBS",))
    assert first["environ"]["WANTED_BY_JOBS"] == "yes"


def test_a_shell_ignores_nothing_and_holds_its_own_descriptors_only(tmp_path: Path) -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:

        async def body() -> None:
            async with running(tmp_path) as supervisor:
                for terminal in (True, False):
                    record = await ended(
                        submit(
                            supervisor,
                            "shell",
                            terminal=terminal,
                            command=LOOK,
                        )
                    )
                    said = output(record)
                    assert "SigIgn:\t0000000000000000" in said
                    assert "SigBlk:\t0000000000000000" in said
                    assert "0 1 2 3" in said
                    assert ("A-TTY" in said) is terminal

        scenario(body)
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_a_module_that_cannot_be_imported_is_named_and_the_rest_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_tasks.py").write_text("import no_such_thing\n")
    monkeypatch.syspath_prepend(tmp_path)

    async def body() -> None:
        from supervisor.config import load_settings

        async with supervisor_of(load_settings(state_dir=tmp_path / "state", tasks=("broken_tasks",))) as supervisor:
            await until(lambda: not supervisor._catalog.pending)
            check = supervisor.checks()["tasks"]
            assert (check.ok, check.required) == (False, False)
            assert "no_such_thing" in check.detail
            assert "broken_tasks" not in sys.modules
            assert (await ended(submit(supervisor, "shell", command="true"))).job.state is State.SUCCEEDED

    scenario(body)
