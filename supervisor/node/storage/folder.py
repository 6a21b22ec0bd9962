"""One folder of STATE_DIR: created at the start, and again when it has been removed.

A folder in which jobs put things is held open, so that operations reach it wherever it is: a folder that was moved
still has its contents, and a name that is missing is not proof that the contents are gone.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
MAX_HELD = 8
"""How many folders that were in this place are remembered, the newest first."""

log = structlog.get_logger()


class Folder:
    """Its methods take as long as the disk does: call them from a thread. `problem` says why it is unusable, or is
    empty.
    """

    def __init__(self, path: Path, *, held: bool = False) -> None:
        """With `held` it is held open from `open` to `close`."""
        self.path = path
        self._is_held = held
        self.name = f"DEADSTOP_STATE_DIR/{path.name}"
        self.problem = ""
        self._mode = 0o700
        self._held: list[int] = []
        self._lock = threading.Lock()

    def open(self, mode: int = 0o700) -> None:
        """Create the folder, with missing parents. Raise OSError."""
        self._mode = mode
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(mode)
        if self._is_held:
            self._hold()

    def close(self) -> None:
        with self._lock:
            while self._held:
                os.close(self._held.pop())

    @property
    def descriptors(self) -> tuple[int, ...]:
        """This folder and those that were in its place before, for `dir_fd`."""
        return tuple(self._held)

    def look(self, then: Callable[[], None] | None = None) -> str:
        """Check that it exists and is usable, and create it again if it was removed. Return `problem`.

        `then` writes what has to be in it, and may raise OSError.
        """
        with self._lock:
            try:
                problem = self._look()
            except OSError as exc:
                problem = f"cannot use it: {exc.strerror}"
            if not problem and then is not None:
                try:
                    then()
                except OSError as exc:
                    problem = f"cannot write it: {exc.strerror}"
            self.tell(problem)
        return problem

    def tell(self, problem: str) -> None:
        """Store a problem, or that there is none, and log it when that changes."""
        if problem == self.problem:
            return
        self.problem = problem
        if problem:
            log.error("folder_unusable", folder=self.name, error=problem)
        else:
            log.info("folder_usable_again", folder=self.name)

    def _look(self) -> str:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            if not self.path.parent.is_dir():
                return f"{self.path.parent.name} is gone, the folder that it was in"
            self.path.mkdir(mode=0o700)
            self.path.chmod(self._mode)
            log.warning("folder_made_again", folder=self.name)
            status = self.path.stat()
        if not stat.S_ISDIR(status.st_mode):
            return "it is not a folder any more"
        if self._is_held and not (self._held and os.path.samestat(status, os.fstat(self._held[0]))):
            self._hold()
        return "" if os.access(self.path, os.W_OK | os.X_OK) else "it cannot be written to"

    def _hold(self) -> None:
        self._held.insert(0, os.open(self.path, _FOLDER))
        while len(self._held) > MAX_HELD:
            os.close(self._held.pop())
