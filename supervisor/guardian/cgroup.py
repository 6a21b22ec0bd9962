"""One attempt's own cgroup (v2): everything that the job forks is born in it, and one write kills all of it.

`cgroup.kill` reaches what signals do not: processes of another user, and a storm that forks faster than a sweep reads.
See "Core Interface Files" in the kernel's admin-guide/cgroup-v2. Light on purpose: guardians use it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass, field

from supervisor.guardian.cgroup_files import GONE, CgroupFiles, write

REMOVE_BOUND_S = 1.0
LOOK_S = 0.002
_OWNERS_ALL = 0o700


@dataclass(frozen=True, slots=True)
class AttemptCgroup:
    """The folder of one cgroup that holds processes. What is done to a folder that is gone has no effect.

    Between processes only the path is handed on: each `hold`s the files for itself, before there is a job.
    """

    path: str
    _files: CgroupFiles = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_files", CgroupFiles(self.path))

    def __reduce__(self) -> tuple[type[AttemptCgroup], tuple[str]]:
        return AttemptCgroup, (self.path,)

    def hold(self) -> AttemptCgroup:
        """Open what is needed to kill it and to see it empty, so that a job cannot take it away. Raises OSError."""
        self._files.hold()
        return self

    def let_go(self) -> None:
        """Give the descriptors back. Afterwards the files are found by their names."""
        self._files.let_go()

    def add(self, pid: int) -> None:
        """Move a process in; what it forks from then on is born there. Raises OSError."""
        write(f"{self.path}/cgroup.procs", str(pid))

    def kill(self) -> None:
        """SIGKILL to every process in it and below, those included that are being forked right now. Raises OSError."""
        try:
            self._files.write("cgroup.kill", "1")
        except OSError as exc:
            if exc.errno not in GONE:
                raise

    @property
    def populated(self) -> bool:
        """Whether anything in it or below lives. A zombie does not. What cannot be read is not empty."""
        try:
            return "populated 0" not in self._files.read("cgroup.events").splitlines()
        except OSError as exc:
            return exc.errno not in GONE

    def pids(self) -> list[int]:
        """The processes in it and below. One of another pid namespace is 0 there, and left out. Raises OSError."""
        found = _numbers(self._files.read_if_there("cgroup.procs"))
        for folder, names, _ in os.walk(self.path, onerror=_raise_unless_gone):
            for name in names:
                found += _numbers(CgroupFiles(f"{folder}/{name}").read_if_there("cgroup.procs"))
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
        try:
            text = self._files.read(file)
        except OSError:
            return 0  # no such controller; or it cannot be read now, and is read again at the next look
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0)

    def remove(self, bound_s: float = REMOVE_BOUND_S) -> bool:
        """Kill what is in it and remove it, with what the job made below it. False: not within the bound.

        Gives the descriptors back. Raises nothing: what fails is tried again until the bound.
        """
        deadline = time.monotonic() + bound_s
        try:
            while _is_there(self.path):
                with contextlib.suppress(OSError):  # rmdir below says EBUSY as long as anything lives
                    self.kill()
                _remove_folders(self.path)
                if time.monotonic() >= deadline:
                    return not _is_there(self.path)
                time.sleep(LOOK_S if _is_there(self.path) else 0)
            return True
        finally:
            self.let_go()


def _numbers(text: str) -> list[int]:
    return [int(pid) for pid in text.split() if pid != "0"]


def _raise_unless_gone(error: OSError) -> None:
    if error.errno not in GONE:
        raise error


def _is_there(path: str) -> bool:
    """Also of a folder whose parents do not let us look: it is not known to be gone."""
    try:
        os.stat(path)  # noqa: PTH116 - asked every few milliseconds
    except OSError as exc:
        return exc.errno not in GONE
    return True


def _remove_folders(path: str) -> None:
    for folder, _, _ in os.walk(path, topdown=False, onerror=_open_up):
        try:
            os.rmdir(folder)  # noqa: PTH106 - os.walk gives strings
        except OSError:
            continue  # busy until its last process has been torn down, or until what is below it is gone


def _open_up(error: OSError) -> None:
    """A job may have taken the mode from a folder that it made, or that is ours: the next round can look inside."""
    if error.errno == errno.EACCES and isinstance(error.filename, str):
        try:
            os.chmod(error.filename, _OWNERS_ALL)  # noqa: PTH101 - beside its sibling
        except OSError:
            return  # it belongs to another user, or is gone
