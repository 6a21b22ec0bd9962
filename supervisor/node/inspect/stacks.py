"""The Python stacks of a running job, taken from outside without disturbing it.

A signal goes to the runner's heartbeat thread alone; `runner.heartbeat` says why. The first signal is answered with the
interpreter lock held; after GIL_WAIT_S the second one follows, which needs no lock, because C code holds it then.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from runner.protocol_stacks import STACK_END, STACK_SIGNAL, STACK_SIGNAL_ANYHOW, STACK_THREAD
from supervisor.guardian.proc import read_stat
from supervisor.guardian.procfs import Unreadable
from supervisor.guardian.threads import find_thread, signal_thread

GIL_WAIT_S = 0.15
"""How long the heartbeat thread may take to get the interpreter lock; between Python threads it moves every 5 ms."""
TIMEOUT_S = 1.0
QUIET_S = 0.1
"""Stacks that are written without the lock have no end mark: they end when nothing has come for this long."""
DRAIN_READS = 16
MAX_BYTES = 256 * 1024
_OURS = ("runner/heartbeat.py", "runner/watcher.py")
_MAIN = "runner/main.py"
_DEAF = {"T": "is stopped", "t": "is being traced", "Z": "has ended", "X": "has ended"}
"""States in which a signal would stay pending."""


class NoStack(Exception):
    """Raised when no stack can be taken. The message says why."""


def take(runner_pid: int, fd: int) -> str:
    """Return the stacks of the runner's threads, the main thread first, the innermost call of each first.

    `fd` is the reading end of the job's stack pipe and is not closed here. Block up to TIMEOUT_S: call it from a
    thread, once at a time for one job. Raise NoStack.
    """
    if STACK_SIGNAL is None or STACK_SIGNAL_ANYHOW is None:
        raise NoStack("this system cannot signal one thread of a process")
    try:
        stat = read_stat(runner_pid)
        thread = find_thread(runner_pid, STACK_THREAD)
    except Unreadable as exc:
        raise NoStack(f"process {runner_pid} cannot be read: {exc.strerror}") from None
    if stat is None or stat.state in _DEAF:
        raise NoStack(f"process {runner_pid} {'has ended' if stat is None else _DEAF[stat.state]}")
    if thread is None:
        raise NoStack(f"process {runner_pid} has no Python of ours in it (any more)")
    deadline = time.monotonic() + TIMEOUT_S
    _drain(fd)
    text = b""
    if signal_thread(runner_pid, thread, STACK_SIGNAL):
        text = _read(fd, GIL_WAIT_S, deadline, lambda got: got.endswith(STACK_END))
    if not text and signal_thread(runner_pid, thread, STACK_SIGNAL_ANYHOW):
        text = _read(fd, TIMEOUT_S, deadline, lambda _: False)
    if not text:
        raise NoStack(f"process {runner_pid} did not answer within {TIMEOUT_S:g} s")
    return arrange(text.rstrip(STACK_END).decode("utf-8", "replace"))


def _drain(fd: int) -> None:
    """Drop what is left of an earlier answer that came too late, at most what a pipe holds."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    for _ in range(DRAIN_READS):
        if not poller.poll(0) or not os.read(fd, 1 << 16):
            return


def _read(fd: int, first_s: float, deadline: float, complete: Callable[[bytes], bool]) -> bytes:
    """Return what comes until it is complete, or stops coming; nothing if nothing came within `first_s`. What comes
    after `deadline` is not read: a job can write into the pipe for as long as it likes.
    """
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    text = b""
    while len(text) < MAX_BYTES and not complete(text):
        left_s = min(QUIET_S if text else first_s, deadline - time.monotonic())
        if left_s <= 0 or not poller.poll(left_s * 1000):
            return text
        data = os.read(fd, 1 << 16)
        if not data:
            return text
        text += data
    return text


def arrange(text: str) -> str:
    """Leave out our own threads, and put the one that runs the task at the top."""
    blocks = [block.strip() for block in text.split("\n\n")]
    theirs = [block for block in blocks if block and not _is_ours(block)]
    theirs.sort(key=lambda block: _MAIN not in block)
    return "\n\n".join(map(_without_runner, theirs)) + "\n"


def _without_runner(block: str) -> str:
    """Leave out the callers of the task, which are the same for every job; the frame that calls it is enough."""
    lines = block.splitlines()
    caller = next((number for number, line in enumerate(lines) if _MAIN in line), len(lines))
    return "\n".join(lines[: caller + 1])


def _is_ours(block: str) -> bool:
    frames = [line.strip() for line in block.splitlines() if line.strip().startswith("File ")]
    # The outermost frames of any thread are threading's; the one below them is the thread's own function.
    started = next((frame for frame in reversed(frames) if "/threading.py" not in frame), "")
    return any(name in started for name in _OURS)
