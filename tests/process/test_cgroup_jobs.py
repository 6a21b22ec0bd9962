"""Level cgroup under real jobs: which processes are in a leaf, leave it or join it, and the server's own death."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from supervisor.core.jobs.model import State
from supervisor.engine.containment import Level, Proof
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.proc import descendants
from tests.support.attempts import guardian_pid
from tests.support.core import cancel, ended, output, running, says, scenario, submit, until
from tests.support.level_cases import OUTSIDE_NAMESPACES, needs_cgroup
from tests.support.levels import cgroup_of, leaves, remove_tree, tree_folder
from tests.support.observer import Beacon, parent_of
from tests.support.server import RunningServer

LONG = "sleep 60"


@needs_cgroup
def test_a_runner_is_in_a_leaf_and_its_guardian_is_not(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, containment="cgroup") as supervisor:
            record = submit(supervisor, "shell", command=f"setsid {LONG} & echo READY; {LONG}")
            await says(record, "READY")
            guardian = guardian_pid(record)
            own = cgroup_of(os.getpid())
            assert cgroup_of(guardian) == own
            below = descendants(guardian)
            inside = {pid for pid in below if cgroup_of(pid) != own}
            assert len({cgroup_of(pid) for pid in inside}) == 1
            assert len(below) - len(inside) == 1  # the tracker
            assert record.job.containment is Level.CGROUP
            its = cgroup_of(inside.pop())
            (leaf,) = [leaf for leaf in leaves(tmp_path) if str(leaf).endswith(its)]
            cancel(supervisor, record)
            await ended(record, 3)
            assert record.job.cancellation is not None
            assert record.job.cancellation.proof is Proof.CGROUP_EMPTY
            await until(lambda: not leaf.exists(), 2)
        assert not tree_folder(tmp_path).exists()

    scenario(body)


@needs_cgroup
def test_a_job_that_leaves_its_cgroup_is_still_in_its_tree(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, containment="cgroup") as supervisor:
            outside = tree_folder(tmp_path).parent / "cgroup.procs"
            script = f"echo $$ > {outside}; {LONG} & echo escaped; wait"
            record = submit(supervisor, "shell", command=f"(setsid sh -c '{script}' &); sleep 60")
            await says(record, "escaped")
            tree = descendants(guardian_pid(record))
            assert len([pid for pid in tree if cgroup_of(pid) == cgroup_of(os.getpid())]) == 3  # tracker and escapees
            cancel(supervisor, record, force=True)
            await ended(record, 2)
            assert record.job.cancellation is not None
            assert record.job.cancellation.proof is Proof.CGROUP_EMPTY
            assert not [pid for pid in tree if Path(f"/proc/{pid}").exists()]

    scenario(body)


@needs_cgroup
def test_a_stranger_in_the_leaf_is_part_of_the_proof(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """ECHILD alone would not reveal it: it is not a descendant of the guardian."""

    async def body() -> None:
        async with running(tmp_path, containment="cgroup", warm=0) as supervisor:
            record = submit(supervisor, "shell", command="echo READY; read _ < /dev/zero")
            await says(record, "READY")
            (folder,) = [leaf for leaf in leaves(tmp_path) if AttemptCgroup(str(leaf)).populated]
            AttemptCgroup(str(folder)).add(sleeper.pid)
            cancel(supervisor, record)
            await ended(record, 3)
            assert sleeper.poll() == -signal.SIGKILL

    scenario(body)


@needs_cgroup
def test_a_job_may_ask_for_less_than_the_server_has(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            assert supervisor.containment.level is Level.CGROUP
            request = "cat /proc/self/cgroup"
            plain = await ended(submit(supervisor, "shell", command=request))
            asked = await ended(submit(supervisor, "shell", command=request, containment="subreaper"))
            assert (plain.job.state, asked.job.state) == (State.SUCCEEDED, State.SUCCEEDED)
            assert (plain.job.containment, asked.job.containment) == (Level.CGROUP, Level.SUBREAPER)
            assert "/attempt-" in output(plain)
            assert "/attempt-" not in output(asked)

    scenario(body)


@pytest.mark.parametrize("level", OUTSIDE_NAMESPACES)
def test_what_a_double_kill_leaves_is_ended_by_the_next_server(level: Level, short_dir: Path, tmp_path: Path) -> None:
    """Server and guardian die at the same moment, and the process left behind has no mark in its environment.

    The control is level subreaper, where it is not found.
    """
    state_dir = short_dir / f"double-{level}"
    fifo = tmp_path / "fifo"
    with Beacon(fifo) as beacon:
        server = RunningServer(state_dir, "--containment", level)
        try:
            command = f"exec 9>{fifo}; echo x >&9; (setsid env -i sh -c 'echo READY; exec {LONG}' &); {LONG}"
            with server.stream({"task": "shell", "input": {"command": command}}) as stream:
                runner = stream.until_type("job.running").data["pid"]
                stream.until_output("READY", 10)
                server.process.send_signal(signal.SIGSTOP)
                os.kill(parent_of(runner), signal.SIGKILL)
                server.kill()
            assert not beacon.wait_eof(time.monotonic() + 0.5)
            again = RunningServer(state_dir, "--containment", level)
            try:
                assert beacon.wait_eof(time.monotonic() + 1) is (level is Level.CGROUP)
            finally:
                again.stop()
        finally:
            beacon.kill_holders(time.monotonic() + 5)
            remove_tree(state_dir)
