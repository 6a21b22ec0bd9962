"""Folders that are no longer wanted: gone from their place at once, and from the disk a little later.

A rename is atomic and takes microseconds whatever the folder contains; removing a large tree does not. So a thread
removes it, outside of the deadline. The next server removes what a killed server leaves here. A folder that cannot be
moved here stays where it is, is logged, and is tried again until it can.
"""

from __future__ import annotations

import os
import queue
import secrets
import threading
from pathlib import Path

import structlog

from supervisor.node.storage.folder import Folder
from supervisor.node.storage.removal import remove_tree

CLOSE_TIMEOUT_S = 0.5
"""The time for this at an orderly end: jobs may have used their whole budget, and everything must be over within 3
s.
"""
MAX_LEFT = 1_000
"""How many folders that could not be moved are tried again. The next server finds the others."""

log = structlog.get_logger()


class Trash:
    """The folder `trash` in STATE_DIR, and the thread that empties it."""

    def __init__(self, folder: Path) -> None:
        self.folder = Folder(folder)
        self._left: dict[tuple[Folder, str], tuple[int, int]] = {}
        """Folders that could not be moved, by place and name, with device and inode: the name may be reused later."""
        self._requests: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._empty, name="deadstop-trash", daemon=True)

    def open(self) -> None:
        """Create the folder, and start removing its contents. Raise OSError."""
        self.folder.open()
        for left in self.folder.path.iterdir():
            self._requests.put(left)
        self._thread.start()

    def take(self, folder: Folder, name: str) -> bool:
        """Take `name` out of a folder. Return True if nothing of that name is in it, even if there never was.

        It takes as long as the disk does.
        """
        problem = ""
        for place in folder.descriptors:
            try:
                self._move(name, place)
            except OSError as exc:
                problem = exc.strerror or str(exc)
                log.error("not_removed", folder=folder.name, name=name, error=problem)
                self._keep_for_later(folder, name, place)
        return not problem

    def look(self) -> None:
        """Check that the folder exists, and try again to move what could not be moved."""
        if not self.folder.look():
            self.try_again()

    def try_again(self) -> None:
        """Move what could not be moved before."""
        for (folder, name), identity in list(self._left.items()):
            del self._left[folder, name]
            if any(_identity(name, place) == identity for place in folder.descriptors) and self.take(folder, name):
                log.info("removed_late", folder=folder.name, name=name)

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Wait until the trash is empty, for a limited time: the next server continues where this one stopped."""
        if self._thread.is_alive():
            self._requests.put(None)
            self._thread.join(timeout_s)

    def _move(self, name: str, place: int) -> None:
        target = self.folder.path / f"{name[:200]}-{secrets.token_hex(4)}"
        try:
            os.rename(name, target, src_dir_fd=place)
        except FileNotFoundError:
            # One of the two does not exist. If it is the trash, it is created again.
            if _identity(name, place) is None:
                return
            self.folder.look()
            os.rename(name, target, src_dir_fd=place)
        self._requests.put(target)

    def _keep_for_later(self, folder: Folder, name: str, place: int) -> None:
        identity = _identity(name, place)
        if identity is not None and len(self._left) < MAX_LEFT:
            self._left[folder, name] = identity

    def _empty(self) -> None:
        while (path := self._requests.get()) is not None:
            problems = list(remove_tree(path, self.folder.path))
            if problems:
                log.warning("trash_not_removed", path=str(path), errors=problems[:5], count=len(problems))


def _identity(name: str, place: int) -> tuple[int, int] | None:
    """Return device and inode, or None if there is nothing of that name."""
    try:
        status = os.lstat(name, dir_fd=place)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
