"""The activity of a process that has been silent for long, as text."""

from __future__ import annotations

from supervisor.guardian.proc import try_read_stat

_STATES = {
    "R": "code in C holds the interpreter lock and computes",
    "S": "code in C holds the interpreter lock and waits",
    "D": "it is in uninterruptible sleep in the kernel",
    "T": "it is stopped (SIGSTOP)",
    "t": "it is stopped by a debugger",
    "Z": "its main thread has ended",
}


def describe(pid: int) -> str:
    """Return what a runner does whose heartbeat is not heard."""
    stat = try_read_stat(pid)
    if stat is None:
        return "its process has ended"
    return f"process {stat.pid}: {_STATES.get(stat.state, 'state ' + stat.state)}"
