"""Where folders go that are no longer wanted: gone from their place at once, and from the disk a little later.

A rename is atomic and takes microseconds whatever is inside; removing a large tree does not. So that is done by a
thread, off the clock. What a server leaves here when it is killed, the next one removes. What cannot be moved here
stays where it is, is named, and is tried again until it can.
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
"""What an orderly end can spare for it: jobs may have taken their whole budget, and it all is to be over within 3 s."""
MAX_LEFT = 1_000
"""So many that could not be moved are tried again. The next server finds the others."""

log = structlog.get_logger()


class Trash:
    """The folder `trash` in STATE_DIR, and the thread that empties it."""

    def __init__(self, folder: Path) -> None:
        self.folder = Folder(folder)
        self._left: dict[tuple[Folder, str], tuple[int, int]] = {}
        """What could not be moved, by place and name, with its device and inode: the name may be another's later."""
        self._requests: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._empty, name="deadstop-trash", daemon=True)

    def open(self) -> None:
        """Make the folder, and begin with what is in it. Raises OSError."""
        self.folder.open()
        for left in self.folder.path.iterdir():
            self._requests.put(left)
        self._thread.start()

    def take(self, folder: Folder, name: str) -> bool:
        """Take what is called `name` out of a folder. True when nothing of that name is in it, also when there never
        was. Takes as long as the disk does."""
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
        """See that the folder is there, and try again what could not be moved into it."""
        if not self.folder.look():
            self.try_again()

    def try_again(self) -> None:
        """Move what could not be moved before."""
        for (folder, name), identity in list(self._left.items()):
            del self._left[folder, name]
            if any(_identity(name, place) == identity for place in folder.descriptors) and self.take(folder, name):
                log.info("removed_late", folder=folder.name, name=name)

    def close(self, bound_s: float = CLOSE_TIMEOUT_S) -> None:
        """Wait for the trash to be empty, but not for ever: the next server goes on where this one stopped."""
        if self._thread.is_alive():
            self._requests.put(None)
            self._thread.join(bound_s)

    def _move(self, name: str, place: int) -> None:
        target = self.folder.path / f"{name[:200]}-{secrets.token_hex(4)}"
        try:
            os.rename(name, target, src_dir_fd=place)
        except FileNotFoundError:
            # One of the two is not there; and when it is the trash, it is made again.
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
    """Device and inode; None when there is nothing of that name."""
    try:
        status = os.lstat(name, dir_fd=place)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
