"""The process table of one job, for people: its processes, their cost, and what each of them waits for."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil

from supervisor.engine.inspection import ProcessRow
from supervisor.guardian import procfs
from supervisor.guardian import resource_tracker as tracker
from supervisor.guardian.proc import descendants

SAMPLE_S = 0.1
"""How long CPU use and I/O are measured for one answer."""


@dataclass(frozen=True, slots=True)
class _Sample:
    process: psutil.Process
    taken: float
    io_bytes: tuple[int, int] | None


def table(root_pid: int) -> list[ProcessRow]:
    """Return the job's processes, parents first: all below the guardian, or below the init of the job's pid namespace.

    Guardian and init are left out, and so is the guardian's resource tracker. It takes SAMPLE_S seconds: call it from a
    thread.
    """
    samples = []
    for pid in descendants(root_pid, on_error=lambda _: None):  # what cannot be read is left out
        try:
            process = psutil.Process(pid)
            process.cpu_percent()
        except psutil.Error:
            continue  # it has ended meanwhile
        samples.append(_Sample(process, time.monotonic(), _io_bytes(process)))
    time.sleep(SAMPLE_S)
    rows = [_row(sample, root_pid) for sample in samples]
    return [row for row in rows if row is not None]


def _row(sample: _Sample, root_pid: int) -> ProcessRow | None:
    process = sample.process
    try:
        with process.oneshot():
            if process.ppid() == root_pid and process.name() == tracker.NAME:
                return None
            read_rate, write_rate = _rates(sample)
            return ProcessRow(
                pid=process.pid,
                ppid=process.ppid(),
                name=process.name(),
                cmdline=process.cmdline(),
                status=process.status(),
                cpu_percent=process.cpu_percent(),
                rss_bytes=process.memory_info().rss,
                started_at=datetime.fromtimestamp(process.create_time(), UTC),
                session=os.getsid(process.pid),
                threads=process.num_threads(),
                wait_channel=_wait_channel(process.pid),
                read_bytes_per_s=read_rate,
                write_bytes_per_s=write_rate,
            )
    except (psutil.Error, ProcessLookupError):
        return None


def _io_bytes(process: psutil.Process) -> tuple[int, int] | None:
    """Return what it has read and written by system calls, pipes and sockets included."""
    try:
        counters = process.io_counters()
    except (psutil.Error, OSError):
        return None
    return counters.read_chars, counters.write_chars


def _rates(sample: _Sample) -> tuple[float | None, float | None]:
    after = _io_bytes(sample.process)
    passed_s = time.monotonic() - sample.taken
    if sample.io_bytes is None or after is None or passed_s <= 0:
        return None, None
    read, written = (round((b - a) / passed_s, 1) for a, b in zip(sample.io_bytes, after, strict=True))
    return read, written


def _wait_channel(pid: int) -> str | None:
    """The kernel reports it only to processes that may trace this one. "0" means that it runs."""
    try:
        name = (procfs.read(f"{pid}/wchan") or b"").decode("ascii", "replace").strip()
    except OSError:
        return None
    return name if name not in {"", "0"} else None
