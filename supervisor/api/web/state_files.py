"""The server's files in STATE_DIR: the lock, the token, and the note with its address."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from supervisor.errors import StartupError

LOCK_FILE = "lock"
TOKEN_FILE = "token"  # noqa: S105  # a file's name
NOTE_FILE = "server.json"
TOKEN_BYTES = 32


class StateFiles:
    """The folder, private and locked by this process. Use as a context manager; entering raises StartupError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_fd: int | None = None

    def __enter__(self) -> Self:
        try:
            self._make()
            self._lock_fd = self._lock()
            self.remove_note()  # left by a server that was killed
        except OSError as exc:
            raise StartupError(f"cannot use STATE_DIR {self.path}: {exc.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock_fd is not None:
            # Keep the lock file: otherwise two servers could lock two different files of that name.
            os.close(self._lock_fd)
            self._lock_fd = None

    def token(self) -> str:
        """Return the token, which is created at first use. Raise StartupError if it cannot be used or written."""
        path = self.path / TOKEN_FILE
        try:
            token = path.read_text("ascii").strip()
            if token and token.isprintable() and " " not in token:
                path.chmod(0o600)
                return token
        except FileNotFoundError:
            pass
        except UnicodeDecodeError:
            raise StartupError(f"cannot use the token in {path}: it is not ASCII; remove the file") from None
        except OSError as exc:
            raise StartupError(f"cannot read the token {path}: {exc.strerror}") from None
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._write(path, token + "\n")
        return token

    def note(self, url: str) -> None:
        """Write down the server's address, for clients on this machine."""
        self._write(self.path / NOTE_FILE, json.dumps({"pid": os.getpid(), "url": url}) + "\n")

    def remove_note(self) -> None:
        (self.path / NOTE_FILE).unlink(missing_ok=True)

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
                f"cannot use STATE_DIR {self.path}: every user may write to it, and it contains other files; "
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
                    f"cannot use STATE_DIR {self.path}: another server{self._where()} already uses this STATE_DIR"
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

    def _write(self, path: Path, text: str) -> None:
        """Write the file atomically, and private from the start. Raise StartupError if that fails."""
        new = path.with_name(f".{path.name}.new")
        try:
            new.unlink(missing_ok=True)
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="ascii") as file:
                file.write(text)
            new.replace(path)
        except OSError as exc:
            raise StartupError(f"cannot write {path}: {exc.strerror}") from None
