"""A directory per job, gone from its place inside the deadline and from the disk a little later.

Renaming is atomic and takes microseconds whatever is inside; removing a large tree does not. So the end of a job
renames its workspace into the trash, and a thread empties the trash off the clock.
"""

from __future__ import annotations

import queue
import secrets
import shutil
import threading
from pathlib import Path

import structlog

log = structlog.get_logger()


class Workspaces:
    """The folders `workspaces` and `trash` in STATE_DIR."""

    def __init__(self, state_dir: Path) -> None:
        self._live = state_dir / "workspaces"
        self._trash = state_dir / "trash"
        self._requests: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._empty_trash, name="deadstop-trash", daemon=True)

    def open(self) -> None:
        """Make the folders, and put away what an earlier server left. Raises OSError."""
        for folder in (self._live, self._trash):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._live.iterdir():
            self.discard(left.name)
        for left in self._trash.iterdir():
            self._requests.put(left)
        self._thread.start()

    def path(self, job_id: str) -> Path:
        """Where a job's workspace is; the runner makes it."""
        return self._live / job_id

    def discard(self, job_id: str) -> bool:
        """Take a workspace out of its place. True when nothing is there any more, also when there never was."""
        target = self._trash / f"{job_id}-{secrets.token_hex(4)}"
        try:
            self._live.joinpath(job_id).rename(target)
        except FileNotFoundError:
            return True
        except OSError as exc:
            log.error("workspace_not_removed", job_id=job_id, error=str(exc))
            return False
        self._requests.put(target)
        return True

    def close(self, bound_s: float = 2.0) -> None:
        """Wait for the trash to be empty, but not for ever: the next server goes on where this one stopped."""
        if self._thread.is_alive():
            self._requests.put(None)
            self._thread.join(bound_s)

    def _empty_trash(self) -> None:
        while (path := self._requests.get()) is not None:
            try:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            except OSError as exc:
                # A job may have made a folder that even its owner cannot write; name it instead of dying of it.
                log.warning("trash_not_removed", path=str(path), error=str(exc))
