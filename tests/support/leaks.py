"""Find leaks of a test: processes, descriptors, threads, asyncio tasks, shared memory, workspaces.

Other programs run on the same machine, so only three kinds of leak count: descendants of this test run (it adopts
orphans, because it is a subreaper), memory that it or its servers had mapped, and state folders of its servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

import psutil

from tests.support import server as servers
from tests.support.observer import Watched

SETTLE_BOUND_S = 3.0
"""How long a process that has been asked to end may take to be gone."""
SHM = Path("/dev/shm")
OF_A_SERVER = {"deadstop-guard", "deadstop-runner"}
OF_MULTIPROCESSING = ("multiprocessing.forkserver", "multiprocessing.resource_tracker")


class Baseline:
    """A record of what existed before a test. `leaks()` returns what exists in addition afterwards."""

    def __init__(self) -> None:
        # Reap orphans that have ended since the last look, so that a test that looks for orphans does not see them.
        _reap_orphans([pid for pid in _children(os.getpid()) if _has_ended(pid)])
        self._processes = set(_children(os.getpid()))
        self._fds = _descriptors()
        self._threads = set(threading.enumerate())
        self._tasks = _tasks()
        self._semaphores = semaphores_of(os.getpid())

    def leaks(self) -> list[str]:
        """Return a line for each leak. Wait up to SETTLE_BOUND_S for leaks to vanish, and kill leaked processes."""
        self._semaphores |= semaphores_of(os.getpid())
        gc.collect()
        checks: list[Callable[[], list[str]]] = [
            self._process_leaks,
            self._thread_leaks,
            self._descriptor_leaks,
            self._task_leaks,
            self._semaphore_leaks,
            _workspace_leaks,
            _job_leaks,
        ]
        deadline = time.monotonic() + SETTLE_BOUND_S
        found = [line for check in checks for line in _settled(check, deadline)]
        with Watched(self._new_processes()) as left:
            left.kill()
            left.wait_gone(time.monotonic() + 1)
        return found

    def _new_processes(self) -> list[int]:
        known = self._processes | {server.pid for server in servers.live}
        new = [pid for pid in _children(os.getpid()) if pid not in known]
        _reap_orphans([pid for pid in new if _has_ended(pid)])
        return [pid for pid in _children(os.getpid()) if pid not in known and pid not in _multiprocessing_processes()]

    def _process_leaks(self) -> list[str]:
        found = self._new_processes()
        for pid in _own_helpers():
            found += [child for child in _children(pid) if not is_of_multiprocessing(child)]
        return [f"process {_describe(pid)}" for pid in found]

    def _thread_leaks(self) -> list[str]:
        return [f"thread {thread.name}" for thread in threading.enumerate() if thread not in self._threads]

    def _task_leaks(self) -> list[str]:
        return [f"asyncio task {task.get_name()}" for task in _tasks() - self._tasks]

    def _descriptor_leaks(self) -> list[str]:
        ours = _multiprocessing_descriptors() | {server.pidfd for server in servers.live}
        now = _descriptors()
        return [
            f"descriptor {fd} → {target}"
            for fd, target in now.items()
            if self._fds.get(fd) != target and fd not in ours and target not in self._fds.values()
        ]

    def _semaphore_leaks(self) -> list[str]:
        if not all(_is_readable(server.pid) for server in servers.live):
            return []  # a server hides its memory from a user who is not root, so its semaphores are not known
        in_use = semaphores_of(os.getpid())
        return [f"semaphore {name}" for name in sorted(self._semaphores - in_use) if (SHM / name).exists()]


def _settled(check: Callable[[], list[str]], deadline: float) -> list[str]:
    while (found := check()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _children(pid: int) -> list[int]:
    """Return the direct children, zombies included. It must be cheap, because it runs twice in every test."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError):  # the folder, when the process is gone
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, task.read_text(encoding="ascii").split())
    return found


def _tree(pid: int) -> list[int]:
    found = _children(pid)
    for child in found:
        found += [below for below in _children(child) if below not in found]
    return found


def _own_helpers() -> list[int]:
    """The forkserver of this process: its children are guardians of a supervisor that ran inside a test."""
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return [] if pid is None else [pid]


def _multiprocessing_processes() -> set[int | None]:
    """This process's own ones, which stay. Those of a server that was killed come here, and end by themselves."""
    return {
        forkserver._forkserver._forkserver_pid,  # type: ignore[attr-defined]
        resource_tracker._resource_tracker._pid,  # type: ignore[attr-defined]
    }


def _multiprocessing_descriptors() -> set[int]:
    fds = {
        forkserver._forkserver._forkserver_alive_fd,  # type: ignore[attr-defined]
        resource_tracker._resource_tracker._fd,  # type: ignore[attr-defined]
    }
    return {fd for fd in fds if fd is not None}


def is_of_multiprocessing(pid: int) -> bool:
    """Whether it is a forkserver or a resource tracker, by the program that it was started with."""
    return any(mark in _cmdline(pid) for mark in OF_MULTIPROCESSING)


def _cmdline(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _describe(pid: int) -> str:
    return f"{pid} ({_name(pid)}): {_cmdline(pid) or 'zombie'}"


def _has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _reap_orphans(pids: list[int]) -> None:
    """Reap adopted processes that have ended. Leave alone those that a Popen still waits for."""
    if pids:
        wanted = {item.pid for item in gc.get_objects() if isinstance(item, subprocess.Popen)}
        for pid in set(pids) - wanted:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _descriptors() -> dict[int, str]:
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own descriptor is closed by now
            found[int(fd)] = str(Path(f"/proc/self/fd/{fd}").readlink())
    return found


def _tasks() -> set[asyncio.Task[Any]]:
    registry: Any = asyncio.tasks
    tasks: Iterable[asyncio.Task[Any]] = [
        *getattr(registry, "_all_tasks", ()),  # up to Python 3.11
        *getattr(registry, "_scheduled_tasks", ()),
    ]
    return {task for task in tasks if not task.done()}


def semaphores_of(pid: int) -> set[str]:
    """The names in /dev/shm that `pid` and what is below it have mapped: what must be gone with them.

    By inode: who made a semaphore has it mapped under a temporary name. What cannot be read counts as not mapped.
    """
    inodes = set()
    for process in [pid, *_tree(pid)]:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/maps").read_text(encoding="utf-8", errors="replace").splitlines():
                if f"{SHM}/" in line:
                    inodes.add(int(line.split()[4]))
    return {path.name for path in SHM.glob("sem.mp-*") if _inode(path) in inodes}


def _is_readable(pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/maps").open(encoding="utf-8"):
            return True
    except PermissionError:
        return False
    except FileNotFoundError:
        return True


def _inode(path: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_ino
    return None


def _workspace_leaks() -> list[str]:
    return [f"workspace {path}" for server in servers.live for path in server.workspaces()]


def _job_leaks() -> list[str]:
    """In a server that outlives the test, everything but the server's own processes is a job's leftover."""
    return [
        f"left by a job: {_describe(pid)}"
        for server in servers.live
        for pid in _tree(server.pid)
        if _name(pid) not in OF_A_SERVER and not is_of_multiprocessing(pid)
    ]
