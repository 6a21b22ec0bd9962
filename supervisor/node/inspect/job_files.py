"""The files that jobs left, for reading: each operation on threads of their own, with a bound."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future

from supervisor.engine.inspection import FoundFile
from supervisor.node.inspect.looks import Looks
from supervisor.node.storage.state_dir import StateDir


class OpenJobFile:
    """Owns a descriptor. `close` waits for nothing: a read that hangs closes the file when it has ended."""

    def __init__(self, fd: int, looks: Looks) -> None:
        self._fd = fd
        self._looks = looks
        self._lock = threading.Lock()
        status = os.fstat(fd)
        self.size_bytes = status.st_size
        self.modified_at = status.st_mtime
        self.etag = f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"'

    async def read(self, size_bytes: int, position: int) -> bytes:
        """Return the bytes at `position`. Raise NotReady when the disk does not answer."""
        return await self._looks.read(self._read, size_bytes, position)

    def close(self) -> None:
        self._looks.read_later(self._close)

    def _read(self, size_bytes: int, position: int) -> bytes:
        with self._lock:
            return b"" if self._fd < 0 else os.pread(self._fd, size_bytes, position)

    def _close(self) -> None:
        # A read that was under way when the client left may still use the number, which another file could get.
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)


class NodeJobFiles:
    """Implements `engine.JobFiles`."""

    def __init__(self, state_dir: StateDir) -> None:
        self._state_dir = state_dir

    async def list(self, job_id: str) -> tuple[list[FoundFile], bool]:
        return await self._state_dir.looks.files(job_id)

    async def open(self, job_id: str, path: bytes) -> OpenJobFile:
        fd = await self._state_dir.looks.open_file(job_id, path)
        try:
            return OpenJobFile(fd, self._state_dir.looks)
        except BaseException:
            os.close(fd)
            raise

    def discard(self, job_id: str) -> None:
        self._state_dir.discard_files(job_id)

    async def discarded(self, job_id: str) -> None:
        discarding: Future[bool] = self._state_dir.discard_files(job_id)
        await self._state_dir.discarded(discarding)
