"""The cgroup (v2) of one attempt: everything that the job forks is created in it, and one write kills all of it.

`cgroup.kill` reaches what signals do not: processes of another user, and a fork storm that is faster than a sweep. See
"Core Interface Files" in the kernel's admin-guide/cgroup-v2. This module is light, because guardians import it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass, field

from supervisor.guardian.cgroup_files import GONE, CgroupFiles, write

REMOVE_TIMEOUT_S = 1.0
RETRY_S = 0.002
_OWNERS_ALL = 0o700


@dataclass(frozen=True, slots=True)
class AttemptCgroup:
    """The folder of one cgroup that holds processes. Operations on a removed folder have no effect.

    Processes pass only the path to each other, and each opens the files for itself with `hold`, before there is a job.
    """

    path: str
    _files: CgroupFiles = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_files", CgroupFiles(self.path))

    def __reduce__(self) -> tuple[type[AttemptCgroup], tuple[str]]:
        return AttemptCgroup, (self.path,)

    def hold(self) -> AttemptCgroup:
        """Open the files that kill it and show that it is empty, so that a job cannot take them away. Raise OSError."""
        self._files.hold()
        return self

    def close_files(self) -> None:
        """Close the descriptors. Afterwards the files are opened by name."""
        self._files.close_files()

    def add(self, pid: int) -> None:
        """Move a process into it, with everything that the process will fork. Raise OSError."""
        write(f"{self.path}/cgroup.procs", str(pid))

    def kill(self) -> None:
        """Send SIGKILL to every process in it and below, including those that are just being forked. Raise OSError."""
        try:
            self._files.write("cgroup.kill", "1")
        except OSError as exc:
            if exc.errno not in GONE:
                raise

    @property
    def populated(self) -> bool:
        """Whether it contains living processes. A zombie is not living. If that cannot be read, it counts as
        populated.
        """
        try:
            return "populated 0" not in self._files.read("cgroup.events").splitlines()
        except OSError as exc:
            return exc.errno not in GONE

    def pids(self) -> list[int]:
        """Return the processes in it and below. Those of another pid namespace show as 0 and are left out. Raise
        OSError.
        """
        found = _numbers(self._files.read_if_there("cgroup.procs"))
        for folder, names, _ in os.walk(self.path, onerror=_raise_unless_gone):
            for name in names:
                found += _numbers(CgroupFiles(f"{folder}/{name}").read_if_there("cgroup.procs"))
        return found

    def oom_kills(self) -> int:
        """Return how many processes the kernel killed here because of `memory.max`.

        Return 0 if `memory.max` was never reached: then the whole machine was short of memory, and no limit was
        exceeded.
        """
        return self._counter("memory.events", "oom_kill") if self._counter("memory.events", "oom") else 0

    def refused_forks(self) -> int:
        """Return how often `pids.max` prevented a fork."""
        return self._counter("pids.events", "max")

    def _counter(self, file: str, name: str) -> int:
        try:
            text = self._files.read(file)
        except OSError:
            return 0  # there is no such controller, or it cannot be read now and is read again later
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0)

    def remove(self, timeout_s: float = REMOVE_TIMEOUT_S) -> bool:
        """Kill everything in it and remove it with the folders that the job made below it. Return False after the
        timeout.

        Close the descriptors too. Errors are not raised: the operation is repeated until the timeout.
        """
        deadline = time.monotonic() + timeout_s
        try:
            while _is_there(self.path):
                with contextlib.suppress(OSError):  # rmdir below returns EBUSY as long as anything is alive
                    self.kill()
                _remove_folders(self.path)
                if time.monotonic() >= deadline:
                    return not _is_there(self.path)
                time.sleep(RETRY_S if _is_there(self.path) else 0)
            return True
        finally:
            self.close_files()


def _numbers(text: str) -> list[int]:
    return [int(pid) for pid in text.split() if pid != "0"]


def _raise_unless_gone(error: OSError) -> None:
    if error.errno not in GONE:
        raise error


def _is_there(path: str) -> bool:
    """Return whether the folder exists. If its parents cannot be searched, it is not known to be removed."""
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
    """Restore the mode of a folder, which a job may have changed, so that the next round can look inside."""
    if error.errno == errno.EACCES and isinstance(error.filename, str):
        try:
            os.chmod(error.filename, _OWNERS_ALL)  # noqa: PTH101 - beside its sibling
        except OSError:
            return  # it belongs to another user, or was removed
