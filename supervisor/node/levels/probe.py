"""Find out what this machine supports by trying it once, at the server's start.

A kernel's version or a mount says little: sandboxes deny calls with any error, so only a try is reliable.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runner import posix
from supervisor.engine.containment import Level
from supervisor.guardian.cgroup import RETRY_S, AttemptCgroup
from supervisor.guardian.environment import passed_environment, with_python
from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures
from supervisor.guardian.proc import read_stat
from supervisor.node.levels.cgroup_tree import CgroupTree, NoCgroup

PROBE_TIMEOUT_S = 0.2
"""How long the probe of one level may take."""
MOUNTINFO = Path("/proc/self/mountinfo")
PIDNS_TIMEOUT_S = 2.0
"""Longer, because it starts an interpreter first, on a machine that may be busy; it needs some 60 ms."""
_PIDNS_PROBE = "from supervisor.guardian import pidns; print(pidns.probe() or '')"
_NO_SUBREAPER = "this system has no subreapers (PR_SET_CHILD_SUBREAPER)"
_AT_PGROUP = "the server was started at level pgroup, which has no subreapers"
_WEAKEST = "it is for systems without subreapers, and for a whole server: DEADSTOP_CONTAINMENT=pgroup"


@dataclass(frozen=True, slots=True)
class Probed:
    """`why_not` has the unavailable levels, and the reasons; `cgroups` is the server's subtree, if there is one.

    `took_ms` is the duration of each probe. `left_over` counts the processes of an earlier server that were found in
    its subtree and ended.
    """

    why_not: dict[Level, str]
    cgroups: CgroupTree | None
    took_ms: dict[Level, float] = field(default_factory=dict)
    left_over: int = 0


def probe(
    state_dir: Path, *, setting: str, features: KernelFeatures = AVAILABLE, mountinfo: Path = MOUNTINFO
) -> Probed:
    """Try every level. Block for some milliseconds: call it from a thread, before there is a child.

    `setting` is CONTAINMENT: a server is a subreaper or it is not, so level pgroup and the others exclude each other.
    What an earlier server of `state_dir` left in its cgroups is ended.
    """
    took_ms: dict[Level, float] = {}
    with _timed(took_ms, Level.SUBREAPER):
        why_no_subreaper = _AT_PGROUP if setting == Level.PGROUP else probe_subreaper(features)
    if why_no_subreaper is not None:
        # The other levels need it: without it, no process would reap what leaves a cgroup or loses its init.
        without: dict[Level, str] = {level: why_no_subreaper for level in Level if level is not Level.PGROUP}
        return Probed(without, None, took_ms, left_over=_swept(state_dir, mountinfo))
    found: dict[Level, str | None] = {Level.PGROUP: _WEAKEST}
    with _timed(took_ms, Level.PIDNS):
        found[Level.PIDNS] = probe_pidns()
    cgroups: CgroupTree | None = None
    left_over = 0
    with _timed(took_ms, Level.CGROUP):
        try:
            cgroups = probe_cgroup(state_dir, mountinfo=mountinfo)
            left_over = cgroups.left_over
        except (NoCgroup, OSError) as exc:
            found[Level.CGROUP] = str(exc)
    return Probed({level: reason for level, reason in found.items() if reason is not None}, cgroups, took_ms, left_over)


def _swept(state_dir: Path, mountinfo: Path) -> int:
    """End what an earlier server left in a subtree that this one will not use. Return the number of processes."""
    try:
        tree = CgroupTree.find(state_dir, mountinfo)
        found = tree.sweep()
        tree.close()
    except (NoCgroup, OSError):
        return 0  # there are none
    return found


@contextmanager
def _timed(took_ms: dict[Level, float], level: Level) -> Iterator[None]:
    began = time.monotonic()
    yield
    took_ms[level] = round((time.monotonic() - began) * 1000, 1)


def probe_subreaper(features: KernelFeatures = AVAILABLE) -> str | None:
    """Become a subreaper, and orphan a canary. Return None if it is reparented to this process, else the reason."""
    try:
        if not features.subreaper or not posix.become_subreaper():
            return _NO_SUBREAPER
    except OSError as exc:
        return f"{_NO_SUBREAPER}: {exc.strerror}"
    try:
        return _orphan_a_canary()
    except OSError as exc:
        return f"cannot start a process to try it with: {exc.strerror}"


def _orphan_a_canary() -> str | None:
    # The canary ends when our end of its stdin is closed, even if this process dies; its parent ends at once.
    with _shell("exec 3<&0; (read _ <&3) & echo $!") as parent:
        assert parent.stdout is not None
        line = parent.stdout.readline()
        if not line.strip().isdigit():
            return "cannot start a process to try it with: the shell started none"
        canary = int(line)
        parent.wait()
        if not _within_bound(lambda: _is_child(canary)):
            return f"an orphan did not come to the server within {PROBE_TIMEOUT_S} s"
    os.waitpid(canary, 0)
    return None


def probe_cgroup(state_dir: Path, *, mountinfo: Path = MOUNTINFO) -> CgroupTree:
    """Take the subtree, and kill a canary in a leaf of it. Raise NoCgroup, and then leave nothing."""
    tree = CgroupTree.find(state_dir, mountinfo)
    try:
        tree.left_over = tree.sweep()
        _kill_a_canary(tree.new_leaf())
        tree.enable_controllers()
    except OSError as exc:
        tree.close()
        raise NoCgroup(f"cannot use {tree.path}: {exc.strerror}") from None
    except NoCgroup:
        tree.close()
        raise
    return tree


def _kill_a_canary(leaf: AttemptCgroup) -> None:
    with _shell("read _") as canary:
        leaf.add(canary.pid)
        if canary.pid not in leaf.pids():
            raise NoCgroup(f"a process did not move to {leaf.path}")
        if not Path(leaf.path, "cgroup.kill").exists():
            raise NoCgroup("this kernel has no cgroup.kill; Linux 5.14 has")
        leaf.kill()
        if not _within_bound(lambda: canary.poll() is not None and not leaf.populated):
            raise NoCgroup(f"cgroup.kill did not end a process within {PROBE_TIMEOUT_S} s")
    if not leaf.remove(PROBE_TIMEOUT_S):
        raise NoCgroup(f"cannot remove {leaf.path}")


def _shell(script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def probe_pidns() -> str | None:
    """Make a namespace as a guardian does, in a process of its own. Return None if that works."""
    command = [sys.executable, "-P", "-S", "-c", _PIDNS_PROBE]
    # Not the server's own environment, which may contain keys: processes of an earlier server could read it.
    environment = with_python(passed_environment()) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PIDNS_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no namespace was made within {PIDNS_TIMEOUT_S} s"
    except OSError as exc:
        return f"cannot start a process to try it with: {exc.strerror}"
    return done.stdout.strip() or (done.stderr.strip().rpartition("\n")[2] if done.returncode != 0 else None)


def _within_bound(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PROBE_TIMEOUT_S
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(RETRY_S)
    return True


def _is_child(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.ppid == os.getpid()
