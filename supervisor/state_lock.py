"""The lock of a STATE_DIR: only one server or embedded node at a time writes to the folder."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from supervisor.errors import StartupError

LOCK_FILE = "lock"
NOTE_FILE = "server.json"


class StateDirLock:
    """The folder, made private, while this process holds it. Use as a context manager; entering raises StartupError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def __enter__(self) -> Self:
        try:
            self._make()
            self._fd = self._lock()
        except OSError as exc:
            raise StartupError(f"cannot use DEADSTOP_STATE_DIR {self.path}: {exc.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            # The lock file is kept: if it were removed, two servers could lock two different files of that name.
            os.close(self._fd)
            self._fd = None

    def _make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.path.stat()
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077 == 0:
            return
        known = (self.path / LOCK_FILE).exists() or not any(self.path.iterdir())
        if known:
            self.path.chmod(0o700)
        elif status.st_mode & 0o002:
            raise StartupError(
                f"cannot use DEADSTOP_STATE_DIR {self.path}: every user may write to it, and it contains other files; "
                "name a folder of its own"
            )

    def _lock(self) -> int:
        fd = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(fd)
            if isinstance(exc, BlockingIOError):
                raise StartupError(
                    f"cannot use DEADSTOP_STATE_DIR {self.path}: another server{self._where()} already uses it"
                ) from None
            raise
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode("ascii"))
        return fd

    def _where(self) -> str:
        try:
            pid = int((self.path / LOCK_FILE).read_text("ascii"))
        except (OSError, ValueError):
            return ""
        try:
            url = json.loads((self.path / NOTE_FILE).read_text("utf-8"))["url"]
        except (OSError, ValueError, KeyError, TypeError):
            return f" (pid {pid})"  # a server writes its address only while it can be reached
        return f" (pid {pid}, {url})"
