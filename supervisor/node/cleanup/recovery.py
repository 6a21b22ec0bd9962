"""End what an earlier server on the same STATE_DIR left behind, before this one starts anything.

If server and guardian die together, no process is left to sweep; a stopped guardian does not notice that its server
died. A process counts as left behind only if
- it is a recorded guardian or runner: same pid, same start time, same boot; or
- its environment has the cookie of a recorded server of this boot that has ended; or
- it is a descendant of one of these.
Nothing else is touched. A process with neither is not found: a daemon with an emptied environment whose parents have
ended, and, for an unprivileged server, what a Python task forked without exec. A cgroup or a namespace does contain it.
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

from supervisor.boot import boot_id
from supervisor.engine.report import Loss
from supervisor.guardian import procfs
from supervisor.guardian import resource_tracker as tracker
from supervisor.guardian.environment import COOKIE, JOB_ID
from supervisor.guardian.handle import Identity
from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures
from supervisor.guardian.offline_proof import SUFFIX
from supervisor.guardian.proc import (
    OnError,
    descendants,
    environment_of,
    process_table,
    read_stat,
    read_stats,
    try_read_stat,
)
from supervisor.guardian.procfs import Unreadable
from supervisor.guardian.round_errors import RoundErrors
from supervisor.node.cleanup import semaphores
from supervisor.node.cleanup.attempt_records import Note
from supervisor.node.cleanup.losses import losses_of

TIMEOUT_S = 2.0
ROUND_S = 0.01
GUARDIAN_TIMEOUT_S = 0.5
"""How long a guardian whose server has died may take to end its job and write its proof; it needs some 30 ms."""
TRACKER_TIMEOUT_S = 0.3
"""How long multiprocessing's trackers may take to clean up: they end by themselves when all others have."""
_NO_JOB = ""
_SERVER_TRACKER = b"from multiprocessing.resource_tracker import"

log = structlog.get_logger()


@dataclass(slots=True)
class Recovered:
    """The pids that were ended, by job (`""` if the job is unknown), and those that did not end."""

    ended: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    left: frozenset[int] = frozenset()
    losses: dict[str, Loss] = field(default_factory=dict)
    """The end of the jobs that those servers left unfinished, by ID, as far as it is known."""
    unread: dict[str, str] = field(default_factory=dict)
    """The parts of /proc that could not be read until the end of the search. Then unseen processes may be left."""

    @property
    def count(self) -> int:
        return sum(len(pids) for pids in self.ended.values())


def recover(earlier: Iterable[tuple[Path, Note]], features: KernelFeatures = AVAILABLE) -> Recovered:
    """End what is left of the servers that wrote these records, and remove the records. Block for TIMEOUT_S at most.

    Records stay if their server still runs, or if its processes do not end.
    """
    this_boot = boot_id()
    notes = list(earlier)
    servers = [record for _, record in notes if record.job_id is None and record.boot_id == this_boot]
    alive = {record.cookie for record in servers if any(map(_is_there, record.processes))}
    dead = [(path, record) for path, record in notes if record.cookie not in alive]
    recovered = Recovered()
    search = Search.of([record for _, record in dead if record.boot_id == this_boot], features)
    if search is not None:
        _wait_for_guardians(search, time.monotonic() + GUARDIAN_TIMEOUT_S)
        recovered.left = _end_all(search, recovered, time.monotonic() + TIMEOUT_S)
        for job_id, pids in recovered.ended.items():
            log.warning("orphans_ended", job_id=job_id or None, pids=sorted(pids))
    recovered.losses = losses_of(dead, boot_id=this_boot, ended=recovered.ended, left=recovered.left)
    if recovered.left or recovered.unread:
        log.error("orphans_left", pids=sorted(recovered.left), unread=recovered.unread)
    else:
        removed = semaphores.remove({record.cookie for _, record in dead})
        if removed:
            log.warning("semaphores_removed", count=removed)
        for path, _ in dead:
            path.unlink(missing_ok=True)
            path.with_suffix(SUFFIX).unlink(missing_ok=True)
    return recovered


@dataclass(frozen=True, slots=True)
class Search:
    """The marks of processes to search for. `spared` is this process and its ancestors, whatever their environment."""

    cookies: frozenset[bytes]
    guardians: frozenset[Identity]
    jobs: dict[Identity, str]
    spared: frozenset[int]
    features: KernelFeatures

    @classmethod
    def of(cls, notes: list[Note], features: KernelFeatures) -> Search | None:
        """Return None if there is nothing to search for."""
        if not notes:
            return None
        jobs = {process: record.job_id for record in notes if record.job_id is not None for process in record.processes}
        guardians = frozenset(record.processes[0] for record in notes if record.job_id is not None and record.processes)
        return cls(
            frozenset(record.cookie.encode() for record in notes), guardians, jobs, frozenset(_ancestors()), features
        )

    def run(self, errors: RoundErrors) -> dict[Identity, str]:
        """Return the processes with the job of each. What cannot be read is recorded in `errors`, and left out."""
        on_error = errors.recorder("process table")
        found: dict[Identity, str] = {}
        for pid, stat in process_table(on_error).items():
            if stat.ended or pid in self.spared:
                continue
            me = Identity.shown_by(stat)
            job_id: str | None = None
            with errors.guard("environment"):
                job_id = self._job_of(me)
            if job_id is None:
                continue
            found[me] = job_id or found.get(me, _NO_JOB)
            for one in self._below(pid, on_error):
                found.setdefault(one, job_id)
        return found

    def _below(self, pid: int, on_error: OnError) -> Iterator[Identity]:
        use_children_files = self.features.children_files
        below = descendants(pid, leave_out=self.spared, use_children_files=use_children_files, on_error=on_error)
        for stat in read_stats(below, on_error):
            if not stat.ended:
                yield Identity.shown_by(stat)

    def _job_of(self, process: Identity) -> str | None:
        """Return the job of a process, `_NO_JOB` if the job is unknown, or None if the process is not ours."""
        if process in self.jobs:
            return self.jobs[process]
        variables = environment_of(process.pid)
        if variables.get(COOKIE.encode()) not in self.cookies:
            return None
        return variables.get(JOB_ID.encode(), b"").decode(errors="replace")


def _end_all(search: Search, recovered: Recovered, deadline: float) -> frozenset[int]:
    """Send rounds of SIGKILL until nothing is found. Return the processes that did not end."""
    trackers_until = time.monotonic() + TRACKER_TIMEOUT_S
    errors = RoundErrors()
    while (found := search.run(errors)) or errors.failed:
        now = time.monotonic()
        if now >= deadline:
            recovered.unread = dict(errors.failed)
            return frozenset(process.pid for process in found)
        errors.clear()
        for process, job_id in found.items():
            if _is_tracker(process.pid) and now < trackers_until:
                continue  # it has to remove semaphores and shared memory, and ends after its users
            with errors.guard("signal"):
                if process.send(signal.SIGKILL, use_pidfd=search.features.pidfd):
                    recovered.ended[job_id].add(process.pid)
        errors.clear()  # errors of signals: the next search finds the processes that they did not reach
        time.sleep(ROUND_S)
    return frozenset()


def _wait_for_guardians(search: Search, deadline: float) -> None:
    """Let guardians that are working finish. A stopped one never finishes."""
    while time.monotonic() < deadline and any(_works(guardian) for guardian in search.guardians):
        time.sleep(ROUND_S)


def _works(process: Identity) -> bool:
    stat = try_read_stat(process.pid)
    return stat is not None and Identity.shown_by(stat) == process and not stat.ended and stat.state not in "Tt"


def _is_tracker(pid: int) -> bool:
    try:
        command = procfs.read(f"{pid}/cmdline") or b""
    except Unreadable:
        return False
    stat = try_read_stat(pid)
    return _SERVER_TRACKER in command or (stat is not None and stat.name == tracker.NAME)


def _is_there(process: Identity) -> bool:
    try:
        stat = read_stat(process.pid)
    except Unreadable:
        return True  # it is not known to have ended, so its records stay for the next start
    return stat is not None and stat.start_ticks == process.start_ticks and not stat.ended


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        stat = read_stat(pid)
        pid = 0 if stat is None else stat.ppid
