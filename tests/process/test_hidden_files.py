"""Files that a job has mounted over or made unreadable prove nothing: its cgroup's files and the process table."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.node.levels.cgroup_tree import CgroupTree
from tests.support.level_cases import needs_cgroup

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
NOBODY = 65534


def run_apart(script: str, *unshare: str) -> str:
    command = [*unshare, sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_cgroup
@needs_root
@pytest.mark.parametrize(("held", "ended"), [("leaf.hold()", True), ("pass", False)])
def test_what_is_mounted_over_a_cgroup_s_files_changes_nothing(tree: CgroupTree, held: str, ended: bool) -> None:
    leaf = tree.new_leaf()
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        leaf.add(sleeper.pid)
        script = f"""
import os, subprocess
from supervisor.guardian.cgroup import AttemptCgroup
leaf = AttemptCgroup({leaf.path!r})
{held}
for name in ("cgroup.kill", "cgroup.events", "cgroup.procs"):
    subprocess.run(["mount", "--bind", "/dev/null", f"{{leaf.path}}/{{name}}"], check=True)
print(leaf.pids() == [{sleeper.pid}])
leaf.kill()
"""
        assert run_apart(script, "unshare", "--mount").split() == [str(ended)]
        if ended:
            assert sleeper.wait(5) == -signal.SIGKILL
        else:
            assert sleeper.poll() is None  # the control: by name, the mounted folder is found
        sleeper.kill()


@needs_cgroup
@needs_root
@pytest.mark.parametrize("held", [True, False])
def test_a_mode_that_was_taken_away_changes_nothing(tree: CgroupTree, held: bool) -> None:
    """The test acts as an ordinary user who owns the subtree, because file modes do not restrict root."""
    leaf = tree.new_leaf()
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        leaf.add(sleeper.pid)
        for name in ("", "cgroup.kill", "cgroup.events", "cgroup.procs"):
            os.chown(Path(leaf.path, name), NOBODY, NOBODY)
        script = f"""
import os
from supervisor.guardian.cgroup import AttemptCgroup
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
leaf = AttemptCgroup({leaf.path!r})
if {held}:
    leaf.hold()
for name in ("cgroup.kill", "cgroup.events", "cgroup.procs", ""):
    os.chmod(os.path.join(leaf.path, name), 0)
print(leaf.populated)
try:
    leaf.kill()
except PermissionError:
    print("refused")
"""
        assert run_apart(script).split() == ["True"] + ["refused"] * (not held)
        assert (sleeper.wait(5) if held else sleeper.poll()) == (-signal.SIGKILL if held else None)
        sleeper.kill()
    assert leaf.remove()


@needs_cgroup
@needs_root
def test_a_server_at_the_same_path_in_another_mount_namespace_is_another_one(tmp_path: Path, tree: CgroupTree) -> None:
    leaf = tree.new_leaf()
    script = f"""
import pathlib, subprocess, sys
from supervisor.node.levels.probe import probe
over = sys.argv[-1] == "over"
folder = pathlib.Path({str(tmp_path)!r})
if {{over}}:
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
probed = probe(folder, setting="auto")
print(probed.left_over)
probed.cgroups.close()
"""
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        leaf.add(sleeper.pid)
        assert run_apart(script.replace("{over}", "True"), "unshare", "--mount").split() == ["0"]
        assert sleeper.poll() is None
        # The control: the same folder, seen from another namespace, is the same server's.
        assert run_apart(script.replace("{over}", "False"), "unshare", "--mount").split() == ["1"]
        assert sleeper.wait(5) == -signal.SIGKILL
    tree.path.mkdir(exist_ok=True)


ATTACK = """
import asyncio, os, pathlib, signal, subprocess, sys
from supervisor.guardian.proc import read_stat
from tests.support.attempts import guardian_pid
from tests.support.core import cancel, ended, output, running, says, scenario, submit

async def body():
    async with running(pathlib.Path(sys.argv[1]), containment="subreaper") as supervisor:
        script = "(setsid env -i sh -c 'echo daemon $$ end; exec sleep 60' &); "
        script += "mount -t tmpfs none /proc; echo mounted; exec sleep 60"
        record = submit(supervisor, "shell", command=script)
        await says(record, " end")
        await says(record, "mounted")
        pid = int(output(record).split("daemon ")[1].split()[0])
        daemon = os.pidfd_open(pid)
        cancel(supervisor, record)
        os.kill(guardian_pid(record), signal.SIGKILL)
        await ended(record, 10)
        assert os.listdir("/proc") == [], "the attack was not made"
        try:
            signal.pidfd_send_signal(daemon, 0)
            print("lives", record.job.state)
        except ProcessLookupError:
            print("gone", record.job.state)
        subprocess.run(["umount", "/proc"], check=True)

scenario(body)
"""


@needs_root
def test_a_job_that_hides_the_process_table_is_gone_when_reported_gone(tmp_path: Path) -> None:
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    (tmp_path / "attack.py").write_text(ATTACK)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    done = subprocess.run(
        [*unshare, sys.executable, str(tmp_path / "attack.py"), str(tmp_path / "state")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "gone cancelled" in done.stdout
