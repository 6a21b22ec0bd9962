"""The process table of one job, for people: who runs in it and what that costs."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil

from supervisor.posix.proc import descendants

SAMPLE_S = 0.1
"""How long CPU use is measured for one answer."""
TRACKER_MARK = "multiprocessing.resource_tracker"


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """`cpu_percent` is of one core, over the last SAMPLE_S seconds."""

    pid: int
    ppid: int
    name: str
    cmdline: list[str]
    status: str
    cpu_percent: float
    rss_bytes: int
    started_at: datetime
    session: int


def table(guardian_pid: int) -> list[ProcessRow]:
    """The job's processes, parents first. The guardian and its resource tracker are ours and left out.

    Takes SAMPLE_S seconds: call it from a thread.
    """
    processes = []
    for pid in descendants(guardian_pid):
        try:
            process = psutil.Process(pid)
            process.cpu_percent()
        except psutil.Error:
            continue  # gone in between
        processes.append(process)
    time.sleep(SAMPLE_S)
    rows = [_row(process, guardian_pid) for process in processes]
    return [row for row in rows if row is not None]


def _row(process: psutil.Process, guardian_pid: int) -> ProcessRow | None:
    try:
        with process.oneshot():
            cmdline = process.cmdline()
            if process.ppid() == guardian_pid and any(TRACKER_MARK in word for word in cmdline):
                return None
            return ProcessRow(
                pid=process.pid,
                ppid=process.ppid(),
                name=process.name(),
                cmdline=cmdline,
                status=process.status(),
                cpu_percent=process.cpu_percent(),
                rss_bytes=process.memory_info().rss,
                started_at=datetime.fromtimestamp(process.create_time(), UTC),
                session=os.getsid(process.pid),
            )
    except (psutil.Error, ProcessLookupError):
        return None
