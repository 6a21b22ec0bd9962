"""Fields of /proc/PID/status that /proc/PID/stat does not have. See proc_pid_status(5)."""

from __future__ import annotations

import signal

from supervisor.guardian import procfs
from supervisor.guardian.procfs import Unreadable


def ignores(pid: int, number: signal.Signals) -> bool:
    """Return whether a process ignores a signal. Return False if it has ended or cannot be read."""
    fields = _fields(pid, b"SigIgn:")
    return bool(fields) and bool(int(fields[0], 16) >> (number - 1) & 1)


def inner_pid(pid: int) -> int | None:
    """Return the pid of a process in its own pid namespace; None if it has ended or cannot be read."""
    fields = _fields(pid, b"NSpid:")
    return int(fields[-1]) if fields else None


def _fields(pid: int, name: bytes) -> list[bytes]:
    try:
        text = procfs.read(f"{pid}/status") or b""
    except Unreadable:
        return []
    return next((line.split()[1:] for line in text.splitlines() if line.startswith(name)), [])
