"""Stacks with the frames of C, C++, Rust and Cython between Python's: the extra `native`, which is py-spy.

Unlike `stacks` this stops the job for some milliseconds, by ptrace(2), which may also end a wait for events early
(EINTR). So it is done only on request. https://github.com/benfred/py-spy
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from supervisor.node.inspect.stacks import NoStack, arrange

TIMEOUT_S = 5.0
"""Reading symbols of large libraries takes a while."""
MAX_ERROR_CHARS = 300


def take(runner_pid: int) -> str:
    """Return the stacks of the runner's threads, in the form of `stacks.take`. Block up to TIMEOUT_S. Raise NoStack."""
    command = [_program(), "dump", "--native", "--json", "--full-filenames", "--pid", str(runner_pid)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise NoStack(f"py-spy did not read process {runner_pid} within {TIMEOUT_S:g} s") from None
    if done.returncode:
        why = " ".join(done.stderr.decode("utf-8", "replace").split())[:MAX_ERROR_CHARS]
        raise NoStack(f"py-spy could not read process {runner_pid}: {why}")
    try:
        threads = json.loads(done.stdout)
        # The main thread has the ID of its process. It comes first, as arrange keeps the order otherwise.
        threads.sort(key=lambda thread: thread["os_thread_id"] != runner_pid)
        return arrange("\n\n".join(map(_thread, threads)))
    except (ValueError, KeyError, TypeError) as exc:
        raise NoStack(f"py-spy answered what is not understood: {exc!r}") from None


def _program() -> str:
    """Look beside this Python first: the environment's folder is seldom in a server's PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "py-spy"
    found = str(beside) if beside.is_file() else shutil.which("py-spy")
    if found is None:
        raise NoStack("native frames need py-spy, which is not installed: pip install 'deadstop[native]'")
    return found


def _thread(thread: dict[str, Any]) -> str:
    head = f"Thread {thread['thread_id']:#018x} (most recent call first):"
    return "\n".join([head, *(f"  {_frame(frame)}" for frame in thread["frames"])])


def _frame(frame: dict[str, Any]) -> str:
    if frame["module"] is None:
        return f'File "{frame["filename"]}", line {frame["line"]} in {frame["name"]}'
    where = f":{frame['line']}" if frame["line"] else ""
    return f"{frame['name']} ({Path(frame['filename']).name}{where})"
