"""The supervisor's own kill, for when a guardian is stopped, dead or late.

A dead guardian's orphans come to the supervisor, because it is a subreaper too. They are told from its own children
by their session: a runner starts a new session and nothing below it can join the supervisor's.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from supervisor.containment.handle import Handle, Survivor
from supervisor.posix.pidfd import ignore_missing
from supervisor.posix.proc import children, descendants, read_stat

_STATES = {"R": "running", "S": "sleeping", "D": "disk-sleep", "T": "stopped", "t": "tracing-stop", "Z": "zombie"}


class Backstop:
    """Rounds of SIGKILL over a guardian's tree and over what was adopted. `is_guardian` names the pids to leave."""

    def __init__(self, is_guardian: Callable[[int], bool]) -> None:
        self._is_guardian = is_guardian
        self._pid = os.getpid()
        self._sid = os.getsid(0)
        self.seen: set[int] = set()

    def orphans(self, born_after_ticks: int) -> list[int]:
        """Adopted children: another session, not a guardian, not older than the guardian they may have had."""
        found = []
        for pid in children(self._pid):
            stat = read_stat(pid)
            if (
                stat is not None
                and stat.sid != self._sid
                and stat.start_ticks >= born_after_ticks
                and not self._is_guardian(pid)
            ):
                found.append(pid)
        return found

    def round(self, guardian: Handle) -> bool:
        """Kill and reap once. True: the guardian is dead and no orphan is left."""
        targets = descendants(guardian.pid) if not guardian.ended else []
        for orphan in self.orphans(guardian.start_ticks):
            targets += [orphan, *descendants(orphan)]
        self.seen.update(targets)
        for pid in targets:
            ignore_missing(os.kill, pid, signal.SIGKILL)
        # Last, so that until then nothing below it is reparented away while it is being listed.
        guardian.kill()
        for orphan in self.orphans(guardian.start_ticks):
            reap(orphan)
        return guardian.ended and not self.orphans(guardian.start_ticks)

    def survivors(self, guardian: Handle) -> tuple[Survivor, ...]:
        """Who is still there, for people to look at."""
        pids = descendants(guardian.pid) if not guardian.ended else []
        pids += self.orphans(guardian.start_ticks)
        stats = [read_stat(pid) for pid in pids]
        return tuple(Survivor(s.pid, s.name, _STATES.get(s.state, s.state)) for s in stats if s is not None)


def reap(pid: int) -> bool:
    """Collect one child that has ended, by pid: never any child, whose status somebody else may wait for."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
