"""Level cgroup: what the kernel holds together, and what is cleaned up around it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.core.jobs.model import State
from supervisor.engine.containment import Level, Proof
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.proc import descendants
from supervisor.node.levels.cgroup_tree import CgroupTree, NoCgroup
from supervisor.node.levels.probe import probe, probe_cgroup
from tests.support.attempts import guardian_pid
from tests.support.core import cancel, ended, output, running, says, scenario, submit, until
from tests.support.level_cases import OUTSIDE_NAMESPACES, needs_cgroup
from tests.support.levels import a_tree, cgroup_of, leaves, remove_tree, tree_folder
from tests.support.observer import Beacon, parent_of
from tests.support.server import RunningServer

NOBODY = 65534
LONG = "sleep 60"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[CgroupTree]:
    tree = a_tree(tmp_path)
    yield tree
    assert tree.close()
    assert not tree.path.exists()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


# --- the mechanism


@needs_cgroup
def test_a_leaf_is_killed_with_all_that_was_forked_in_it(tree: CgroupTree) -> None:
    leaf = tree.new_leaf()
    script = "read _; (setsid sleep 60 &); setsid sh -c 'sleep 60 & sleep 60' & echo there; wait"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as root:
        assert root.stdin is not None
        assert root.stdout is not None
        leaf.add(root.pid)
        root.stdin.write("\n")
        root.stdin.flush()
        root.stdout.readline()
        assert leaf.populated
        leaf.kill()
        assert root.wait(5) == -signal.SIGKILL
    deadline = time.monotonic() + 5
    while leaf.populated and time.monotonic() < deadline:
        time.sleep(0.001)
    assert (leaf.populated, leaf.pids()) == (False, [])
    assert leaf.remove()
    assert leaf.remove()  # again: there is nothing to do


@needs_cgroup
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a cgroup to another user")
def test_a_process_of_another_user_is_reached_by_the_cgroup_only(
    tree: CgroupTree, sleeper: subprocess.Popen[bytes]
) -> None:
    leaf = tree.new_leaf()
    leaf.add(sleeper.pid)
    os.chown(f"{leaf.path}/cgroup.kill", NOBODY, NOBODY)

    def as_nobody(code: str) -> str:
        script = f"import os, sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
        script += "from supervisor.guardian.cgroup import AttemptCgroup\n"
        script += f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n{code}"
        return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout

    refused = as_nobody(f"try: os.kill({sleeper.pid}, 9)\nexcept PermissionError: print('refused')")
    assert (refused, sleeper.poll()) == ("refused\n", None)  # the control: a signal does not get there
    as_nobody(f"AttemptCgroup({leaf.path!r}).kill()")
    assert sleeper.wait(5) == -signal.SIGKILL


@needs_cgroup
def test_what_a_job_makes_below_its_leaf_goes_with_it(tree: CgroupTree, sleeper: subprocess.Popen[bytes]) -> None:
    leaf = tree.new_leaf()
    below = Path(leaf.path) / "its" / "own"
    below.mkdir(parents=True)
    AttemptCgroup(str(below)).add(sleeper.pid)
    assert leaf.pids() == [sleeper.pid]
    assert leaf.remove()
    assert sleeper.wait(5) == -signal.SIGKILL


@needs_cgroup
def test_an_earlier_server_s_leaves_are_swept_and_nobody_else_s(
    tmp_path: Path, tree: CgroupTree, sleeper: subprocess.Popen[bytes]
) -> None:
    tree.new_leaf().add(sleeper.pid)
    (tmp_path / "other").mkdir()
    other = probe_cgroup(tmp_path / "other")  # sweeps what has its own name
    assert sleeper.poll() is None
    assert other.close()
    again = a_tree(tmp_path)
    assert again.sweep() == 1
    assert sleeper.wait(5) == -signal.SIGKILL
    assert not list(again.path.glob("attempt-*"))


@needs_cgroup
@pytest.mark.parametrize("setting", ["pgroup", "subreaper"])
def test_they_are_swept_by_a_server_of_another_level_too(
    tmp_path: Path, tree: CgroupTree, sleeper: subprocess.Popen[bytes], setting: str
) -> None:
    tree.new_leaf().add(sleeper.pid)
    probed = probe(tmp_path, setting=setting)
    assert sleeper.wait(5) == -signal.SIGKILL
    assert probed.left_over == 1


# --- the probe


def test_without_a_mount_the_level_is_not_there(tmp_path: Path) -> None:
    nothing = tmp_path / "mountinfo"
    nothing.write_text("22 27 0:21 / /proc rw - proc proc rw\n")
    probed = probe(tmp_path, setting="auto", mountinfo=nothing)
    assert probed.cgroups is None
    assert probed.why_not[Level.CGROUP] == "no cgroup2 file system is mounted"
    with pytest.raises(NoCgroup, match="cannot read"):
        probe_cgroup(tmp_path, mountinfo=tmp_path / "missing")


@needs_cgroup
@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a mount read-only")
def test_a_read_only_mount_is_not_taken_for_a_usable_one(tmp_path: Path) -> None:
    mount = tree_folder(tmp_path).parent
    code = f"import pathlib, supervisor.node.levels.probe as p; p.probe_cgroup(pathlib.Path({str(tmp_path)!r}))"
    script = f"mount -o remount,bind,ro {mount} && exec {sys.executable} -c {code!r}"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert "NoCgroup: cannot make" in done.stderr
    assert "Read-only file system" in done.stderr


@needs_cgroup
def test_the_probe_leaves_only_the_subtree(tmp_path: Path) -> None:
    tree = probe_cgroup(tmp_path)
    assert list(tree.path.glob("*/")) == []
    assert tree.close()


# --- jobs


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
    """ECHILD alone would not see it: it is nobody's descendant."""

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


# --- the server's own death


@pytest.mark.parametrize("level", OUTSIDE_NAMESPACES)
def test_what_a_double_kill_leaves_is_ended_by_the_next_server(level: Level, short_dir: Path, tmp_path: Path) -> None:
    """Server and guardian die in one moment: nobody is left to kill, and by its environment nobody can be told.

    Its control: at level subreaper it stays.
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
