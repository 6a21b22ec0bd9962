"""Reaping what was orphaned to this process and is not a job's: as pid 1 of a container it gets every orphan there.

A zombie stays until its parent waits for it. Ours are waited for elsewhere, by pid; so are, after the death of their
guardian, a job's.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from supervisor.containment.backstop import reap
from supervisor.posix.means import AVAILABLE, Means
from supervisor.posix.proc import children, read_stat

OWN_PREFIX = "deadstop-"
"""Processes of ours that may be orphaned: a tracker whose guardian failed before it said hello, and that guardian."""


def reap_strangers(is_guardian: Callable[[int], bool], means: Means = AVAILABLE, *, is_init: bool | None = None) -> int:
    """Reap zombies of other sessions than ours. How many that were; raises OSError when they cannot be listed.

    What this server starts itself, and waits for, is in its session; guardians have their own and are left out. Where
    this process is not pid 1 only processes of ours are taken: others may be children of the program that hosts us.
    """
    if not _any_zombie():
        return 0
    everything = os.getpid() == 1 if is_init is None else is_init
    session = os.getsid(0)
    reaped = 0
    for pid in children(os.getpid(), use_children_files=means.children_files):
        stat = read_stat(pid)
        if stat is None or not stat.ended or stat.sid == session or is_guardian(pid):
            continue
        if everything or stat.name.startswith(OWN_PREFIX):
            reaped += reap(pid)
    return reaped


def _any_zombie() -> bool:
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False
