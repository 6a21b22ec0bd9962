"""Finding out what this machine can do by doing it once, at the server's start.

A kernel's version or a mount says little: sandboxes deny with any error, so only the act itself counts.
"""

from __future__ import annotations

import os
import subprocess
import time

from supervisor.containment.level import Level
from supervisor.posix import prctl
from supervisor.posix.proc import read_stat

PROBE_BOUND_S = 0.2
"""How long one level's probe may take."""
LOOK_S = 0.001
_NOT_IN_THIS_VERSION = "it is not in this version"


def probe() -> dict[Level, str]:
    """The levels that cannot be used here, and why. Blocks for some milliseconds: call it from a thread."""
    found = {
        Level.SUBREAPER: probe_subreaper(),
        Level.CGROUP: _NOT_IN_THIS_VERSION,
        Level.PIDNS: _NOT_IN_THIS_VERSION,
        Level.PGROUP: _NOT_IN_THIS_VERSION,
    }
    return {level: reason for level, reason in found.items() if reason is not None}


def probe_subreaper() -> str | None:
    """Orphan a canary, and see whether it comes to this process. None: it does."""
    if not prctl.become_subreaper():
        return "this system has no subreapers (PR_SET_CHILD_SUBREAPER)"
    try:
        return _orphan_a_canary()
    except OSError as exc:
        return f"cannot start a process to try it with: {exc.strerror}"


def _orphan_a_canary() -> str | None:
    deadline = time.monotonic() + PROBE_BOUND_S
    # The canary ends with our end of its stdin, whatever becomes of us; its parent ends at once.
    with _shell("exec 3<&0; (read _ <&3) & echo $!") as parent:
        assert parent.stdout is not None
        canary = int(parent.stdout.readline())
        parent.wait()
        while not _is_child(canary) and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        if not _is_child(canary):
            return f"an orphan did not come to the server within {PROBE_BOUND_S} s"
    os.waitpid(canary, 0)
    return None


def _shell(script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _is_child(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.ppid == os.getpid()
