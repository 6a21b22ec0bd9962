"""No proof from names that a job can change, and no part of a kill that keeps another from its turn."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from runner import posix
from supervisor.guardian import procfs
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.cgroup_files import CgroupFiles
from supervisor.guardian.handle import Handle, Identity
from supervisor.guardian.proc import children, descendants, read_stat
from supervisor.guardian.sweep import Sweep
from supervisor.node.cleanup.backstop import Backstop
from supervisor.node.cleanup.kill_round import Round, SweepTarget
from supervisor.node.levels.cgroup_tree import CgroupTree
from tests.support.level_cases import needs_cgroup
from tests.support.levels import a_tree

FAILED = [errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENOMEM, errno.EINVAL]
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
NOBODY = 65534


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[CgroupTree]:
    tree = a_tree(tmp_path)
    yield tree
    assert tree.close()


@pytest.fixture
def backstop() -> Iterator[Backstop]:
    backstop = Backstop(set())
    yield backstop
    backstop.close()


@contextmanager
def a_guardian(script: str = "sleep 60 & echo $!; exec sleep 60") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process in a session of its own, and the pid of what it has started in another one."""
    started = ["setsid", "sh", "-c", script]
    with subprocess.Popen(started, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


@contextmanager
def an_orphan() -> Iterator[tuple[Handle, Handle]]:
    """A dead guardian, and what has come from it to this process."""
    with a_guardian("setsid sh -c 'echo $$; exec sleep 60' & read _") as (process, pid), ExitStack() as stack:
        handles = Handle.open(process.pid), Handle.open(pid)
        for handle in handles:
            stack.callback(handle.close)
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        yield handles
        handles[1].kill()
        if pid in children(os.getpid()):
            os.waitpid(pid, 0)


class Broken(CgroupFiles):
    def __init__(self, number: int) -> None:
        super().__init__("/nonexistent")
        self.number: int | None = number

    def read(self, name: str) -> str:
        if self.number is None:
            return "populated 0\n" if name == "cgroup.events" else ""
        raise OSError(self.number, os.strerror(self.number))

    def write(self, name: str, text: str) -> None:
        if self.number is not None:
            raise OSError(self.number, os.strerror(self.number))


def broken_leaf(number: int) -> tuple[AttemptCgroup, Broken]:
    leaf = AttemptCgroup("/nonexistent")
    files = Broken(number)
    object.__setattr__(leaf, "_files", files)
    return leaf, files


def until_done(backstop: Backstop, held: SweepTarget) -> Round:
    """Rounds until nothing is left, or fifty: each waits for the process that it has killed."""
    for _ in range(50):
        found = backstop.kill_once([held])[0]
        if found.done:
            break
    return found


# --- parts that fail


@pytest.mark.parametrize("number", FAILED)
def test_a_cgroup_that_cannot_be_used_keeps_nobody_from_being_signalled(backstop: Backstop, number: int) -> None:
    leaf, files = broken_leaf(number)
    with a_guardian() as (process, pid), ExitStack() as stack:
        guardian, child = Handle.open(process.pid), Handle.open(pid)
        for handle in (guardian, child):
            stack.callback(handle.close)
        found = backstop.kill_once([SweepTarget(guardian, leaf)])[0]
        assert pid in found.seen
        process.wait(5)
        while not until_done(backstop, SweepTarget(guardian)).done:
            assert not child.ended
        assert child.ended
        assert not backstop.kill_once([SweepTarget(guardian, leaf)])[0].done, "unreadable is not empty"
        files.number = None
        assert backstop.kill_once([SweepTarget(guardian, leaf)])[0].done


@pytest.mark.parametrize("number", FAILED)
def test_a_guardian_s_sweep_signals_without_its_cgroup(number: int) -> None:
    leaf, files = broken_leaf(number)
    with a_guardian() as (process, _):
        others = frozenset(descendants(os.getpid())) - {process.pid, *descendants(process.pid)}
        sweep = Sweep(os.getpid(), leaf, leave_out=others)
        assert process.pid in sweep.kill()
        assert "cgroup.kill" in sweep.errors.failed
        assert process.wait(5) == -signal.SIGKILL
        assert leaf.populated
        files.number = None
        assert not leaf.populated


def test_a_round_without_a_descriptor_ends_what_was_adopted(
    backstop: Backstop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after prlimit(2) by a job of the same user, hard limit and all: nothing can be opened any more."""
    monkeypatch.setattr(posix, "restore_open_files_limit", lambda _: False)
    with an_orphan() as (guardian, orphan):
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            survivors = backstop._killing.survivors(SweepTarget(guardian))
            found = until_done(backstop, SweepTarget(guardian))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert [survivor.pid for survivor in survivors] == [orphan.pid]
        assert found.done
        assert orphan.ended


def test_a_limit_of_descriptors_that_was_lowered_is_set_back(backstop: Backstop) -> None:
    with an_orphan() as (guardian, orphan):
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            assert until_done(backstop, SweepTarget(guardian)).done
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert orphan.ended


def test_the_backstop_starts_no_thread_when_it_is_needed(backstop: Backstop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert backstop._thread.submit(int).result() == 0


# --- names that lie


@pytest.mark.parametrize("lie", ["empty", "another", "unreadable"])
def test_no_proof_is_read_from_a_proc_that_does_not_show_us(
    backstop: Backstop, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    with an_orphan() as (guardian, orphan):
        own = backstop._adopted._own
        with monkeypatch.context() as lying:
            if lie == "empty":
                lying.setattr(own, "children", list)
            elif lie == "another":
                lying.setattr(own, "is_seen", lambda: False)
                lying.setattr(own, "children", list)
            else:
                lying.setattr(procfs, "read_again", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "")))
            assert not backstop.kill_once([SweepTarget(guardian)])[0].done
            assert not orphan.ended
        assert until_done(backstop, SweepTarget(guardian)).done  # the control
        assert orphan.ended


@pytest.mark.parametrize("reused", [True, False])
def test_a_process_that_has_a_dead_guardian_s_number_is_no_guardian(reused: bool) -> None:
    with an_orphan() as (guardian, orphan):
        known = Identity(orphan.pid, orphan.start_ticks - reused)
        backstop = Backstop({known})
        assert until_done(backstop, SweepTarget(guardian)).done
        assert orphan.ended is reused
        backstop.close()


# --- cgroup files


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
            assert sleeper.poll() is None  # the control: what is found by name is what was mounted
        sleeper.kill()


@needs_cgroup
@needs_root
@pytest.mark.parametrize("held", [True, False])
def test_a_mode_that_was_taken_away_changes_nothing(tree: CgroupTree, held: bool) -> None:
    """As an ordinary user, to whom the subtree was given: root is not asked for modes."""
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


# --- the whole of it

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
def test_a_job_that_hides_the_process_table_is_gone_when_it_is_said_to_be(tmp_path: Path) -> None:
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


def test_the_pid_of_a_stat_is_the_one_that_was_asked_for() -> None:
    stat = read_stat(os.getpid())
    assert stat is not None
    assert stat.pid == os.getpid()
