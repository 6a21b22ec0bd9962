"""Level cgroup: the kernel keeps a job's processes together, and leftover cgroups are removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supervisor.engine.containment import Level
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.node.levels.cgroup_tree import CgroupTree, NoCgroup
from supervisor.node.levels.probe import probe, probe_cgroup
from tests.support.level_cases import needs_cgroup
from tests.support.levels import a_tree, tree_folder

NOBODY = 65534


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
    assert leaf.remove()  # the second call finds nothing to do


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
    assert (refused, sleeper.poll()) == ("refused\n", None)  # the control: a signal does not reach it
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
def test_only_the_leaves_of_an_earlier_server_on_the_same_state_dir_are_swept(
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
