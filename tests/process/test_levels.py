"""How a level gets from the setting or the job's request to the guardian."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from runner.posix import become_subreaper
from supervisor.engine.containment import Level
from supervisor.guardian.environment import passed_environment
from supervisor.guardian.proc import children, read_stat
from supervisor.node.levels.cgroup_tree import CgroupTree
from supervisor.node.levels.probe import probe_subreaper
from supervisor.node.workers.pool import WorkerPool
from supervisor.node.workers.spawned_worker import SpawnedWorker
from supervisor.node.workers.starter import Starter
from tests.support.core import scenario, until
from tests.support.levels import DEFAULT_LEVEL, why_no_cgroup, why_no_namespace
from tests.support.server import running_server


def test_a_job_of_another_level_starts_cold(tmp_path: Path) -> None:
    async def body() -> None:
        starter = Starter(passed_environment())
        pool = WorkerPool(starter, 1, Level.SUBREAPER)
        try:
            pool.fill()
            await until(lambda: pool.ready == 1)
            other = await asyncio.wait_for(pool.request(Level.CGROUP), 5)
            assert (other.level, pool.ready) == (Level.CGROUP, 1)
            pool.return_unused(other)  # unused, but of no use to other jobs
            assert pool.ready == 1
            own = await asyncio.wait_for(pool.request(Level.SUBREAPER), 5)
            assert own.level is Level.SUBREAPER
            pool.return_unused(own)
        finally:
            await pool.close()
            starter.close()

    scenario(body)


def test_levels_are_probed_once_before_any_request_is_served(short_dir: Path) -> None:
    with running_server(short_dir / "probes") as server:
        reasons = {Level.CGROUP: why_no_cgroup(), Level.PIDNS: why_no_namespace()}
        for level in [None, Level.SUBREAPER, *(level for level, why in reasons.items() if why is None)]:
            body = {"task": "shell", "input": {"command": "true"}, "containment": level}
            with server.stream({name: value for name, value in body.items() if value is not None}) as stream:
                *_, last = stream.rest(10)
            assert last.type == "job.succeeded"
        lines = server.stderr.splitlines()
    probes = [number for number, line in enumerate(lines) if '"event": "containment"' in line]
    served = next(number for number, line in enumerate(lines) if "deadstop: serving" in line)
    assert len(probes) == 1
    assert probes[0] < served
    told = json.loads(lines[probes[0]])
    assert told["active"] == DEFAULT_LEVEL
    took_ms = told["probes_ms"]
    assert set(took_ms) == {"subreaper", "cgroup", "pidns"}
    print(took_ms)  # what they take on a machine that does nothing else is measured by bench/start.py


def test_a_guardian_that_cannot_use_its_cgroup_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "no-cgroup"
    folder.mkdir()

    async def body() -> None:
        starter = Starter(passed_environment(), cgroups=CgroupTree(tmp_path, folder.name))
        pool = WorkerPool(starter, 0, Level.SUBREAPER)
        try:
            before = set(children(os.getpid()))
            wish = pool.request(Level.CGROUP)
            await until(lambda: pool.last_error is not None)
            assert f"cannot use cgroup {folder}/attempt-1: No such file or directory" in str(pool.last_error)
            wish.cancel()
            # Neither a tracker nor a runner has come here, alive or not.
            names = [stat.name for pid in {*children(os.getpid())} - before if (stat := read_stat(pid)) is not None]
            assert not [name for name in names if name.startswith("deadstop")]
        finally:
            await pool.close()
            starter.close()

    scenario(body)


def test_sets_that_a_stopped_forkserver_does_not_report_hold_up_no_start() -> None:
    class Unreported:
        exitcode = None

        def join(self, timeout: float) -> None:
            time.sleep(timeout)

    starter = Starter(passed_environment())
    try:
        starter._retired = [cast("SpawnedWorker", SimpleNamespace(process=Unreported())) for _ in range(100)]
        began = time.monotonic()
        starter._collect(0.05)
        assert time.monotonic() - began < 2  # and not one time bound for each
    finally:
        starter._retired = []
        starter.close()


def test_orphans_come_to_a_subreaper() -> None:
    assert probe_subreaper() is None


def test_the_probe_fails_where_orphans_go_elsewhere() -> None:
    """The negative control: a process that is not a subreaper, because the call that makes it one does nothing."""
    assert become_subreaper()  # the orphan of the process below comes here, and ends by itself
    script = (
        "from supervisor.node.levels import probe; from runner import posix; "
        "posix.become_subreaper = lambda: True; print(probe.probe_subreaper())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20)
    assert "did not come to the server" in done.stdout
