"""Ending what an earlier server on the same STATE_DIR left behind, before this one starts anything.

When server and guardian die together nobody is left to sweep; when a guardian is stopped, it does not see that its
server died. A process is taken for a leftover only if
- it is a guardian or a runner that was written down: same pid, same start time, same boot; or
- its environment has the cookie of a server that was written down on this boot and has ended; or
- it is a descendant of one of these.
Nothing else is touched. What has neither (a daemon with an emptied environment whose parents are dead; for a server
without privilege also what a Python task forked without exec) is not found: a cgroup holds it, or a namespace.
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from supervisor.containment import tracker
from supervisor.containment.attempt_records import Note
from supervisor.containment.environment import COOKIE, JOB_ID
from supervisor.containment.handle import Identity
from supervisor.posix.means import AVAILABLE, Means
from supervisor.posix.proc import boot_id, descendants, environment_of, process_ids, read_stat

BOUND_S = 2.0
ROUND_S = 0.01
TRACKER_BOUND_S = 0.3
"""How long multiprocessing's trackers get to clean up: they end by themselves when all others have."""
_NO_JOB = ""
_SERVER_TRACKER = b"from multiprocessing.resource_tracker import"

log = structlog.get_logger()


@dataclass(slots=True)
class Recovered:
    """The pids that were ended, by job (`""`: of no known one), and those that would not go."""

    ended: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    left: frozenset[int] = frozenset()

    @property
    def count(self) -> int:
        return sum(len(pids) for pids in self.ended.values())


def recover(earlier: Iterable[tuple[Path, Note]], means: Means = AVAILABLE) -> Recovered:
    """End what is left of the servers that wrote these notes, and remove the notes. Blocks, for BOUND_S at most.

    Notes of a server that still runs, or whose processes would not go, stay.
    """
    this_boot = boot_id()
    notes = list(earlier)
    servers = [note for _, note in notes if note.job_id is None and note.boot_id == this_boot]
    alive = {note.cookie for note in servers if any(map(_is_there, note.processes))}
    dead = [(path, note) for path, note in notes if note.cookie not in alive]
    recovered = Recovered()
    search = Search.of([note for _, note in dead if note.boot_id == this_boot], means)
    if search is not None:
        recovered.left = _end_all(search, recovered, time.monotonic() + BOUND_S)
        for job_id, pids in recovered.ended.items():
            log.warning("orphans_ended", job_id=job_id or None, pids=sorted(pids))
    if recovered.left:
        log.error("orphans_left", pids=sorted(recovered.left))
    else:
        for path, _ in dead:
            path.unlink(missing_ok=True)
    return recovered


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for. `spared` is this process and those above it, whatever environment they were started with."""

    cookies: frozenset[bytes]
    jobs: dict[Identity, str]
    spared: frozenset[int]
    means: Means

    @classmethod
    def of(cls, notes: list[Note], means: Means) -> Search | None:
        """None: there is nothing to look for."""
        if not notes:
            return None
        jobs = {process: note.job_id for note in notes if note.job_id is not None for process in note.processes}
        return cls(frozenset(note.cookie.encode() for note in notes), jobs, frozenset(_ancestors()), means)

    def run(self) -> dict[Identity, str]:
        """What is there now, with the job that each belongs to."""
        found: dict[Identity, str] = {}
        for pid in process_ids():
            stat = read_stat(pid)
            if stat is None or stat.ended or pid in self.spared:
                continue
            me = Identity(pid, stat.start_ticks)
            job_id = self._job_of(me)
            if job_id is None:
                continue
            found[me] = job_id or found.get(me, _NO_JOB)
            for below in descendants(pid, leave_out=self.spared, use_children_files=self.means.children_files):
                stat = read_stat(below)
                if stat is not None and not stat.ended:
                    found.setdefault(Identity(below, stat.start_ticks), job_id)
        return found

    def _job_of(self, process: Identity) -> str | None:
        """The job that it belongs to, `_NO_JOB` if to none that is known, None if it is not ours."""
        if process in self.jobs:
            return self.jobs[process]
        variables = environment_of(process.pid)
        if variables.get(COOKIE.encode()) not in self.cookies:
            return None
        return variables.get(JOB_ID.encode(), b"").decode(errors="replace")


def _end_all(search: Search, recovered: Recovered, deadline: float) -> frozenset[int]:
    """Rounds of SIGKILL until nothing is found. What would not go."""
    trackers_until = time.monotonic() + TRACKER_BOUND_S
    while found := search.run():
        now = time.monotonic()
        if now >= deadline:
            return frozenset(process.pid for process in found)
        for process, job_id in found.items():
            if _is_tracker(process.pid) and now < trackers_until:
                continue  # it has semaphores and shared memory to remove, and ends when those that use it have
            if process.send(signal.SIGKILL, use_pidfd=search.means.pidfd):
                recovered.ended[job_id].add(process.pid)
        time.sleep(ROUND_S)
    return frozenset()


def _is_tracker(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    stat = read_stat(pid)
    return _SERVER_TRACKER in command or (stat is not None and stat.name == tracker.NAME)


def _is_there(process: Identity) -> bool:
    stat = read_stat(process.pid)
    return stat is not None and stat.start_ticks == process.start_ticks and not stat.ended


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        stat = read_stat(pid)
        pid = 0 if stat is None else stat.ppid
