"""On cancel each process gets one stop signal and no hang-up, and what cleans up within the ladder ends by itself."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.jobs.model import State
from supervisor.core.supervisor import Supervisor
from supervisor.engine.containment import Level
from supervisor.engine.order import StdinChunk
from tests.children import stop_signals
from tests.support.core import cancel, ended, reaches, running, says, scenario, submit
from tests.support.levels import why_no_namespace

CLEAN_UP_S = 1.0
"""Longer than until *terminate*, and over before *kill*, with room for a machine that is busy."""
WAITING = """
import signal, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: None)  # it stays until its child has ended
sys.exit(child.wait())
"""
FORWARDING = WAITING.replace("lambda *_: None", "lambda *_: child.terminate()")
HOWS: list[dict[str, Any]] = [{}, {"stdin": "open"}, {"terminal": False}]


def job_of(way: str, program: list[str], folder: Path) -> dict[str, Any]:
    """Input for a shell job that runs `program`, below what stands for the wrappers that people use."""
    words = shlex.join(program)
    match way:
        case "argv":
            return {"argv": program}
        case "shell":
            return {"command": f"{words}; echo done"}
        case "nested":
            return {"command": f"bash -c {shlex.quote(f'{words}; echo done')}; echo done"}
        case "silent":
            return {"command": f"{words} > /dev/null 2>&1; echo done"}
        case "waiting wrapper":
            return {"argv": [sys.executable, "-c", WAITING, *program]}
        case "forwarding wrapper":
            return {"argv": [sys.executable, "-c", FORWARDING, *program]}
        case "own group":
            return {"command": f"set -m; {words}; echo done"}
        case "make":  # forwards as well
            (folder / "Makefile").write_text(f"all:\n\t{words}\n\t@echo done\n")
            return {"argv": ["make", "-f", str(folder / "Makefile")]}
    raise AssertionError(way)


async def signals_of(supervisor: Supervisor, folder: Path, way: str, **how: Any) -> str:
    """Cancel a job once its program is ready, and return the signals that the program recorded."""
    folder.mkdir()
    ready, file = folder / "ready", folder / "signals"
    os.mkfifo(ready)
    program = [sys.executable, stop_signals.__file__, str(ready), str(file), str(CLEAN_UP_S)]
    placed = {"containment": how.pop("containment")} if "containment" in how else {}
    record = submit(supervisor, "shell", **job_of(way, program, folder), **how, **placed)
    assert await asyncio.to_thread(ready.read_text) == "READY"
    cancel(supervisor, record)
    await ended(record)
    assert record.job.state is State.CANCELLED
    assert record.job.cancellation is not None
    assert record.job.cancellation.within_budget
    return file.read_text()


def all_of(tmp_path: Path, way: str, hows: list[dict[str, Any]]) -> list[str]:
    told: list[str] = []

    async def body() -> None:
        async with running(tmp_path / "state", warm=len(hows)) as supervisor:
            jobs = [signals_of(supervisor, tmp_path / str(number), way, **how) for number, how in enumerate(hows)]
            told.extend(await asyncio.gather(*jobs))

    scenario(body)
    return told


@pytest.mark.parametrize("way", ["argv", "shell", "nested", "silent", "waiting wrapper", "own group"])
def test_one_stop_signal_and_time_to_clean_up(tmp_path: Path, way: str) -> None:
    assert all_of(tmp_path, way, HOWS) == ["SIGTERM clean"] * len(HOWS)


@pytest.mark.parametrize("way", ["forwarding wrapper", "make"])
def test_what_a_wrapper_passes_on_is_its_own_signal(tmp_path: Path, way: str) -> None:
    for told in all_of(tmp_path, way, HOWS):
        assert told in ("SIGTERM clean", "SIGTERM SIGTERM clean")


@pytest.mark.skipif(why_no_namespace() is not None, reason="no pid namespaces here")
def test_in_a_pid_namespace_too(tmp_path: Path) -> None:
    hows = [how | {"containment": Level.PIDNS} for how in HOWS]
    assert all_of(tmp_path, "shell", hows) == ["SIGTERM clean"] * len(hows)


def test_only_a_leader_that_ignores_the_stop_signal_is_hung_up(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path / "state") as supervisor:
            shell = submit(supervisor, "shell", argv=["bash", "--norc", "--noprofile", "-i"], stdin="open")
            await reaches(shell, lambda job: job.state is State.RUNNING)
            shell.input.give(StdinChunk("echo RE''ADY\n"), State.RUNNING)
            await says(shell, "READY")
            cancel(supervisor, shell)
            await ended(shell)
            assert shell.job.cancellation is not None
            assert shell.job.cancellation.method == "sigterm", "a hang-up at terminate, and not the kill"

    scenario(body)
