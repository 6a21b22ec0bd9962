"""One attempt's own cgroup (v2): everything that the job forks is born in it, and one write kills all of it.

`cgroup.kill` reaches what signals do not: processes of another user, and a storm that forks faster than a sweep reads.
See "Core Interface Files" in the kernel's admin-guide/cgroup-v2. Light on purpose: guardians use it.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

REMOVE_BOUND_S = 1.0
LOOK_S = 0.002


@dataclass(frozen=True, slots=True)
class Leaf:
    """The folder of one cgroup that holds processes. What is done to a folder that is gone has no effect."""

    path: str

    def add(self, pid: int) -> None:
        """Move a process in; what it forks from then on is born there. Raises OSError."""
        write(f"{self.path}/cgroup.procs", str(pid))

    def kill(self) -> None:
        """SIGKILL to every process in it and below, those included that are being forked right now."""
        with contextlib.suppress(FileNotFoundError):
            write(f"{self.path}/cgroup.kill", "1")

    @property
    def populated(self) -> bool:
        """Whether anything in it or below lives. A zombie does not."""
        return self._counter("cgroup.events", "populated") == 1

    def pids(self) -> list[int]:
        """The processes in it and below. One of another pid namespace is 0 there, and left out."""
        found: list[int] = []
        for folder, _, _ in os.walk(self.path):
            with contextlib.suppress(FileNotFoundError, OSError):
                found += [int(pid) for pid in read(f"{folder}/cgroup.procs").split() if pid != "0"]
        return found

    def oom_kills(self) -> int:
        """How many processes the kernel killed here because of `memory.max`.

        0 when `memory.max` was never hit: then the whole machine was short of memory, which is nobody's limit.
        """
        return self._counter("memory.events", "oom_kill") if self._counter("memory.events", "oom") else 0

    def refused_forks(self) -> int:
        """How often `pids.max` refused a fork."""
        return self._counter("pids.events", "max")

    def _counter(self, file: str, name: str) -> int:
        with contextlib.suppress(FileNotFoundError, OSError):
            for line in read(f"{self.path}/{file}").splitlines():
                key, _, value = line.partition(" ")
                if key == name:
                    return int(value)
        return 0

    def remove(self, bound_s: float = REMOVE_BOUND_S) -> bool:
        """Kill what is in it and remove it, with what the job made below it. False: not within the bound."""
        deadline = time.monotonic() + bound_s
        while Path(self.path).is_dir():
            self.kill()
            for folder, _, _ in os.walk(self.path, topdown=False):
                with contextlib.suppress(OSError):  # busy until its last process has been torn down
                    os.rmdir(folder)  # noqa: PTH106 - os.walk gives strings
            if time.monotonic() >= deadline:
                return not Path(self.path).is_dir()
            time.sleep(0 if not Path(self.path).is_dir() else LOOK_S)
        return True


def read(path: str) -> str:
    with open(path, encoding="ascii") as file:  # noqa: PTH123 - read on the way to a kill
        return file.read()


def write(path: str, text: str) -> None:
    """One write(2), as these files want it. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)
