"""Resources that a job holds, seen from outside: the kernel is asked whether they exist, never the product."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHM = Path("/dev/shm")
POLL_S = 0.002


class SweepTarget:
    """All resources that a job of tests.children.holding has listed. Create it while they are held."""

    def __init__(self, facts: dict[str, list[Any]]) -> None:
        self._terminals = [(path, Path(path).stat().st_ctime_ns) for path in facts.get("terminals", [])]
        self._paths = [Path(path) for path in facts.get("paths", [])]
        self._locks = list(facts.get("locks", []))
        self._ports = list(facts.get("ports", []))
        self._abstract = list(facts.get("abstract", []))
        self._shm = [SHM / name for name in facts.get("shm", [])]

    def __len__(self) -> int:
        return len([*self._terminals, *self._paths, *self._locks, *self._ports, *self._abstract, *self._shm])

    def unlink_shared_memory(self) -> None:
        """Remove shared memory that was not contained. It would stay until the machine is rebooted."""
        for path in self._shm:
            path.unlink(missing_ok=True)

    def forget_files(self) -> None:
        """Stop looking for paths in folders, but continue to look for shared memory."""
        self._paths = []

    def there(self) -> list[str]:
        """Return a line for each resource that still exists."""
        return list(self._look())

    def _look(self) -> Iterator[str]:
        yield from (f"terminal {path}" for path, made in self._terminals if _made(path) == made)
        yield from (f"file {path}" for path in [*self._paths, *self._shm] if path.exists())
        yield from (f"lock {path}" for path in self._locks if _is_locked(path))
        yield from (f"port {port}" for port in self._ports if _listens(port))
        yield from (f"socket @{name}" for name in self._abstract if _is_bound(name))

    def wait_gone(self, deadline: float) -> list[str]:
        """Wait until no resource is left, at most until `deadline` (monotonic seconds). Return those that are left."""
        while (left := self.there()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return left


def _made(path: str) -> int | None:
    """Return when a terminal was created, because its number may have been reused."""
    with contextlib.suppress(FileNotFoundError):
        return Path(path).stat().st_ctime_ns
    return None


def _is_locked(path: str) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_bound(name: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(f"\0{name}")
        except OSError:
            return True
    return False


def files_below(folder: Path) -> set[str]:
    """Return every name below a folder that may change meanwhile."""
    return {
        os.path.relpath(os.path.join(parent, name), folder)  # noqa: PTH118
        for parent, folders, files in os.walk(folder)
        for name in [*folders, *files]
    }
