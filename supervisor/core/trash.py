"""Where folders go that are no longer wanted: gone from their place at once, and from the disk a little later.

A rename is atomic and takes microseconds whatever is inside; removing a large tree does not. So that is done by a
thread, off the clock. What a server leaves here when it is killed, the next one removes.
"""

from __future__ import annotations

import os
import queue
import secrets
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import structlog

CLOSE_BOUND_S = 0.5
"""What an orderly end can spare for it: jobs may have taken their whole budget, and it all is to be over within 3 s."""

log = structlog.get_logger()


class Trash:
    """The folder `trash` in STATE_DIR, and the thread that empties it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._requests: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._empty, name="deadstop-trash", daemon=True)

    def open(self) -> None:
        """Make the folder, and begin with what is in it. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._folder.iterdir():
            self._requests.put(left)
        self._thread.start()

    def take(self, path: Path) -> bool:
        """Take `path` out of its place. True when nothing is there any more, also when there never was."""
        target = self._folder / f"{path.name}-{secrets.token_hex(4)}"
        try:
            path.rename(target)
        except FileNotFoundError:
            return True
        except OSError as exc:
            log.error("not_removed", path=str(path), error=str(exc))
            return False
        self._requests.put(target)
        return True

    def close(self, bound_s: float = CLOSE_BOUND_S) -> None:
        """Wait for the trash to be empty, but not for ever: the next server goes on where this one stopped."""
        if self._thread.is_alive():
            self._requests.put(None)
            self._thread.join(bound_s)

    def _empty(self) -> None:
        while (path := self._requests.get()) is not None:
            problems = list(remove_tree(path, self._folder))
            if problems:
                log.warning("trash_not_removed", path=str(path), errors=problems[:5], count=len(problems))


def remove_tree(path: Path, hoist_to: Path) -> Iterator[str]:
    """Remove `path`, whatever a job has made of it; yields what could not be removed, and why.

    Each folder inside is first moved up into `hoist_to`: a job can nest folders deeper than paths may be long, or than
    a recursion goes. What only lacks its owner's permission bits gets them.
    """
    pending = [path]
    while pending:
        here = pending.pop()
        try:
            if not stat.S_ISDIR(here.lstat().st_mode):
                here.unlink()
                continue
            here.chmod(0o700)
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(_hoist(Path(entry.path), hoist_to))
                    else:
                        Path(entry.path).unlink()
            here.rmdir()
        except OSError as exc:
            yield f"{here.name}: {exc}"


def _hoist(folder: Path, hoist_to: Path) -> Path:
    inner = hoist_to / f"inner-{secrets.token_hex(8)}"
    try:
        return folder.rename(inner)
    except PermissionError:
        # Moving a folder changes what its `..` is, which needs the permission to write to it. Never met by root, who
        # must not do this: a process of the user that jobs run as could put a link to elsewhere in the folder's place.
        folder.chmod(0o700)
        return folder.rename(inner)
