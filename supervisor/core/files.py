"""The files that jobs have left for people: what was in `out/`, out of the workspace by one rename when the job ended.

So a reader sees all of them or none, and never a half-written one. They stay until their job is forgotten.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from supervisor.core.trash import Trash
from supervisor.errors import NotFound
from supervisor.posix.beneath import Found, list_files, open_file

MAX_LISTED = 10_000
OUT = "out"


class Files:
    """The folder `files` in STATE_DIR: one folder per job that left any. Methods that look take as long as the disk."""

    def __init__(self, state_dir: Path, trash: Trash) -> None:
        self._folder = state_dir / "files"
        self._trash = trash

    def open(self) -> None:
        """Make the folder. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep_only(self, is_known: Callable[[str], bool]) -> None:
        """Put away the files of jobs that nobody remembers. For the start, after what is remembered was read."""
        for left in self._folder.iterdir():
            if not is_known(left.name):
                self._trash.take(left)

    def set_aside(self, suffix: str) -> None:
        """Begin with an empty folder and keep the old one beside it: what its jobs were is no longer known."""
        self._folder.rename(self._folder.with_name(self._folder.name + suffix))
        self.open()

    def publish(self, job_id: str, workspace: Path) -> bool:
        """Take `out/` from the workspace of a job of which nothing runs any more. False: there is nothing in it.

        Raises OSError.
        """
        out = workspace / OUT
        try:
            if not stat.S_ISDIR(out.lstat().st_mode):
                return False  # the job has made something else of it
            with os.scandir(out) as entries:
                if next(entries, None) is None:
                    return False
        except (FileNotFoundError, NotADirectoryError):
            return False
        self.discard(job_id)
        published = self._folder / job_id
        out.rename(published)
        # Looked at where no job can change it any more: a job can put another user's folder in its place.
        if published.lstat().st_uid != workspace.lstat().st_uid:
            self.discard(job_id)
            raise PermissionError(errno.EPERM, f"`{OUT}/` belongs to another user")
        return True

    def discard(self, job_id: str) -> bool:
        """The job is forgotten. True when nothing is there any more."""
        return self._trash.take(self._folder / job_id)

    def list(self, job_id: str) -> tuple[list[Found], bool]:
        """The job's files, and whether there are more than are listed."""
        return list_files(self._folder / job_id, MAX_LISTED)

    def open_file(self, job_id: str, path: bytes) -> int:
        """A descriptor for reading. Raises NotFound for what is no ordinary file of this job's."""
        try:
            return open_file(self._folder / job_id, path.split(b"/"))
        except OSError:
            shown = path[:200].decode("utf-8", "backslashreplace")
            raise NotFound(f"cannot find file {shown!r}: job {job_id} has left none of that name") from None
