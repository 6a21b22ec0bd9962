"""Level pgroup, without subreapers, is best effort. Its promises hold, and the cases that it excludes do escape.

The test run is a subreaper, so processes that escape from this level are reparented to it, instead of to PID 1.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.config import load_settings
from supervisor.engine.containment import Level
from supervisor.errors import StartupError
from supervisor.guardian.kernel_features import KernelFeatures
from supervisor.node.levels.available import Containment
from tests.support.observer import describe, parent_of
from tests.support.server import RunningServer, running_server
from tests.support.sins import (
    BUDGET_S,
    CASES,
    TASKS_ENV,
    Mode,
    assert_gone_within_budget,
    assert_proven,
    committed,
    guardian_of,
    hang_up_and_check,
)

NOT_HELD = {"fork_storm", "env_i_daemon"}
"""The storm and the forgetful daemon: the words of /health say so."""
TELLING: list[tuple[str, Mode]] = [
    ("sigterm_ignored", "task"),
    ("setsid_child", "shell"),
    ("double_fork_daemon", "task"),
    ("stopped_child", "task"),
]
"""Those that tell the ways of finding a process apart. The others are in the suite."""


@pytest.fixture(scope="module")
def server(short_dir: Path) -> Iterator[RunningServer]:
    with running_server(short_dir / "pg", "--containment", Level.PGROUP, env=TASKS_ENV) as server:
        yield server


def cases() -> Iterator[Any]:
    for sin, mode in CASES:
        if sin not in NOT_HELD:
            yield pytest.param(sin, mode, marks=() if (sin, mode) in TELLING else pytest.mark.suite)


@pytest.mark.parametrize(("sin", "mode"), list(cases()))
def test_nothing_is_left_after_the_hang_up(sin: str, mode: Mode, server: RunningServer) -> None:
    print(hang_up_and_check(server, sin, mode, f"{sin}-{mode}"))


def test_it_says_that_it_is_best_effort(server: RunningServer) -> None:
    containment = server.http.get("/health").json()["containment"]
    assert containment["level"] == "pgroup"
    assert containment["not_covered"][0].startswith("best effort only")
    assert set(containment["why_not"]) == {"subreaper", "cgroup", "pidns"}
    assert "containment pgroup (best effort)" in server.stderr
    assert "deadstop: not covered: best effort only" in server.stderr


def test_a_job_cannot_ask_for_more_than_the_server_has(server: RunningServer) -> None:
    body = {"task": "shell", "input": {"command": "true"}, "containment": "subreaper"}
    answer = server.http.post("/jobs", json=body)
    assert answer.status_code == 422
    assert "started at level pgroup" in answer.text


def test_an_orphan_is_not_adopted_by_the_guardian(server: RunningServer) -> None:
    """The control: at this level a daemon is not in the tree any more, so no walk from the guardian can find it."""
    with committed(server, "double_fork_daemon", "shell", "orphan") as sin:
        (daemon,) = [pid for pid in sin.beacon.holders() if parent_of(pid) == os.getpid()]
        assert daemon not in [handle.pid for handle in sin.tree.handles]
        sin.stream.hang_up()
        assert sin.beacon.wait_eof(time.monotonic() + BUDGET_S)
        server.wait_finished(sin.job_id)


@pytest.mark.parametrize("sent", [signal.SIGSTOP, signal.SIGKILL])
def test_a_cancel_without_the_guardian(server: RunningServer, sent: signal.Signals) -> None:
    with committed(server, "double_fork_daemon", "shell", f"without-{sent.name}") as sin:
        os.kill(guardian_of(sin.runner_pid), signal.SIGSTOP)
        hung_up = sin.stream.hang_up()
        os.kill(guardian_of(sin.runner_pid), sent)
        assert_gone_within_budget(sin, hung_up)
        assert_proven(server.wait_finished(sin.job_id))


def test_a_killed_guardian_fails_its_job_and_leaves_nothing(server: RunningServer) -> None:
    with committed(server, "double_fork_daemon", "shell", "guardian") as sin:
        os.kill(guardian_of(sin.runner_pid), signal.SIGKILL)
        job = server.wait_finished(sin.job_id)
        assert (job["state"], job["error"]["kind"]) == ("failed", "guardian")
        assert sin.beacon.wait_eof(time.monotonic()), sin.beacon.holders()


def test_what_a_finished_job_leaves_behind_is_ended(server: RunningServer) -> None:
    body = {"task": "shell", "input": {"command": "(setsid sleep 60 &); setsid sleep 60 & sleep 0.3; echo done"}}
    with server.stream(body) as stream:
        *_, last = stream.rest(10)
    job = server.job(last.data["job_id"])
    assert (job["state"], job["leftovers"]) == ("succeeded", 2)


def test_a_killed_server_leaves_nothing(short_dir: Path) -> None:
    with (
        running_server(short_dir / "pgk", "--containment", Level.PGROUP, env=TASKS_ENV) as server,
        committed(server, "double_fork_daemon", "task", "server") as sin,
    ):
        server.kill()
        killed = time.monotonic()
        left = sin.tree.wait_gone(killed + BUDGET_S)
        assert not left, describe(left)
        assert sin.beacon.wait_eof(killed + BUDGET_S), sin.beacon.holders()


NO_SUBREAPER = KernelFeatures(subreaper=False)


def test_without_subreapers_auto_is_pgroup(tmp_path: Path) -> None:
    chosen = Containment.choose(load_settings(state_dir=tmp_path), {}, NO_SUBREAPER)
    assert (chosen.levels.default, chosen.cgroups) == (Level.PGROUP, None)
    assert all("no subreapers" in reason for reason in chosen.levels.why_not.values())
    assert len(chosen.levels.why_not) == 3


@pytest.mark.parametrize("level", ["subreaper", "cgroup", "pidns"])
def test_without_subreapers_a_level_by_name_is_refused(tmp_path: Path, level: str) -> None:
    with pytest.raises(StartupError, match=rf"level {level} is not available here: this system has no subreapers"):
        Containment.choose(load_settings(state_dir=tmp_path, containment=level), {}, NO_SUBREAPER)
