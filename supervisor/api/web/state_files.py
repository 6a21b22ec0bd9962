"""The server's own files in STATE_DIR, which it holds alone: the token, and the note about where the server is."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from supervisor.errors import StartupError
from supervisor.state_lock import NOTE_FILE, StateDirLock

TOKEN_FILE = "token"  # noqa: S105  # a file's name
TOKEN_BYTES = 32


class StateFiles:
    """The folder, private and locked by this process. Use as a context manager; entering raises StartupError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = StateDirLock(path)

    def __enter__(self) -> Self:
        self._lock.__enter__()
        try:
            self.remove_note()  # of a server that was killed
        except OSError as exc:
            self._lock.__exit__(None, None, None)
            raise StartupError(f"cannot use DEADSTOP_STATE_DIR {self.path}: {exc.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, exc, trace)

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
