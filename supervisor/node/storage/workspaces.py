"""A directory per job, gone from its place inside the deadline."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from supervisor.node.storage.folder import Folder
from supervisor.node.storage.short_paths import ShortPaths
from supervisor.node.storage.trash import Trash

log = structlog.get_logger()


class Workspaces:
    """The folder `workspaces` in STATE_DIR. Methods other than `path` take as long as the disk does."""

    def __init__(self, state_dir: Path, trash: Trash) -> None:
        self.folder = Folder(state_dir / "workspaces", held=True)
        self._trash = trash
        self._short = ShortPaths(state_dir)

    def open(self, *, for_other_users: bool = False) -> None:
        """Make the folder, and put away what an earlier server left. Raises OSError.

        Other users may pass it and STATE_DIR, and look into neither.
        """
        self.folder.open(0o711 if for_other_users else 0o700)
        if for_other_users:
            self.folder.path.parent.chmod(0o711)
        self._short.open(for_other_users=for_other_users)
        for left in os.listdir(self.folder.path):
            self._trash.take(self.folder, left)

    def path(self, job_id: str) -> Path:
        """Where a job's workspace is; the runner makes it."""
        return self.folder.path / job_id

    def find(self, job_id: str) -> int | None:
        """The folder in which the job's workspace is, for `dir_fd`; None when it is nowhere."""
        for place in self.folder.descriptors:
            try:
                os.lstat(job_id, dir_fd=place)
            except FileNotFoundError:
                continue
            return place
        return None

    def prepare(self, job_id: str) -> tuple[Path, str]:
        """See that the job's workspace can be made. Its short path, and why it cannot be made, if so."""
        problem = self.folder.look()
        return self.path(job_id) if problem else self.short_path(job_id), problem

    def short_path(self, job_id: str) -> Path:
        """The same by a path that leaves room for the names of sockets, where one can be made."""
        return self._short.of(job_id, self.path(job_id))

    def discard(self, job_id: str) -> bool:
        """Take a workspace out of its place. True when nothing is there any more, also when there never was."""
        try:
            self._short.drop(job_id)
        except OSError as exc:  # the next server of this STATE_DIR removes it
            log.warning("short_path_not_removed", job_id=job_id, error=str(exc))
        self.folder.look()  # whoever has made it again, what is in it now counts
        return self._trash.take(self.folder, job_id)

    def close(self) -> None:
        """Remove the short paths."""
        self._short.close()
        self.folder.close()
