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
        """Create the folder, and remove what an earlier server left. Raise OSError.

        Other users may pass through it and STATE_DIR, but not list either.
        """
        self.folder.open(0o711 if for_other_users else 0o700)
        if for_other_users:
            self.folder.path.parent.chmod(0o711)
        self._short.open(for_other_users=for_other_users)
        for left in os.listdir(self.folder.path):
            self._trash.take(self.folder, left)

    def path(self, job_id: str) -> Path:
        """Return the path of a job's workspace, which the runner creates."""
        return self.folder.path / job_id

    def find(self, job_id: str) -> int | None:
        """Return the folder that contains the job's workspace, for `dir_fd`, or None if there is none."""
        for place in self.folder.descriptors:
            try:
                os.lstat(job_id, dir_fd=place)
            except FileNotFoundError:
                continue
            return place
        return None

    def prepare(self, job_id: str) -> tuple[Path, str]:
        """Check that the job's workspace can be created. Return its short path, and why it cannot be created, if so."""
        problem = self.folder.look()
        return self.path(job_id) if problem else self.short_path(job_id), problem

    def short_path(self, job_id: str) -> Path:
        """Return a path that leaves room for the names of sockets, where one can be created."""
        return self._short.of(job_id, self.path(job_id))

    def discard(self, job_id: str) -> bool:
        """Take a workspace out of its place. Return True if nothing is there any more, even if there never was."""
        try:
            self._short.drop(job_id)
        except OSError as exc:  # the next server of this STATE_DIR removes it
            log.warning("short_path_not_removed", job_id=job_id, error=str(exc))
        self.folder.look()  # the folder may have been replaced meanwhile, and its present contents count
        return self._trash.take(self.folder, job_id)

    def close(self) -> None:
        self._short.close()
        self.folder.close()
