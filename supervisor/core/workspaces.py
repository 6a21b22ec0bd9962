"""A directory per job, gone from its place inside the deadline."""

from __future__ import annotations

from pathlib import Path

from supervisor.core.short_paths import ShortPaths
from supervisor.core.trash import Trash


class Workspaces:
    """The folder `workspaces` in STATE_DIR."""

    def __init__(self, state_dir: Path, trash: Trash) -> None:
        self.folder = state_dir / "workspaces"
        self._trash = trash
        self._short = ShortPaths(state_dir)

    def open(self, *, for_other_users: bool = False) -> None:
        """Make the folder, and put away what an earlier server left. Raises OSError.

        Other users may pass it and STATE_DIR, and look into neither.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o711 if for_other_users else 0o700)
        if for_other_users:
            self.folder.parent.chmod(0o711)
        self._short.open(for_other_users=for_other_users)
        for left in self.folder.iterdir():
            self._trash.take(left)

    def path(self, job_id: str) -> Path:
        """Where a job's workspace is; the runner makes it."""
        return self.folder / job_id

    def short_path(self, job_id: str) -> Path:
        """The same by a path that leaves room for the names of sockets, where one can be made."""
        return self._short.of(job_id, self.path(job_id))

    def discard(self, job_id: str) -> bool:
        """Take a workspace out of its place. True when nothing is there any more, also when there never was."""
        self._short.drop(job_id)
        return self._trash.take(self.path(job_id))

    def close(self) -> None:
        """Remove the short paths."""
        self._short.close()
