"""The files that jobs have left for people: what was in `out/`, out of the workspace by one rename when the job ended.

So a reader sees all of them or none, and never a half-written one. They stay until their job is forgotten.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from supervisor.engine.inspection import FoundFile
from supervisor.errors import NotFound
from supervisor.node.storage.beneath import is_our_own, list_files, open_file
from supervisor.node.storage.folder import Folder
from supervisor.node.storage.trash import Trash

MAX_LISTED = 10_000
OUT = "out"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Files:
    """The folder `files` in STATE_DIR: one folder per job that left any. Methods that look take as long as the disk."""

    def __init__(self, state_dir: Path, trash: Trash) -> None:
        self.folder = Folder(state_dir / "files", held=True)
        self._trash = trash

    def open(self) -> None:
        """Make the folder. Raises OSError."""
        self.folder.open()

    def keep_only(self, is_known: Callable[[str], bool]) -> None:
        """Put away the files of jobs that nobody remembers. For the start, after what is remembered was read."""
        for left in os.listdir(self.folder.path):
            if not is_known(left):
                self._trash.take(self.folder, left)

    def set_aside(self, suffix: str) -> None:
        """Begin with an empty folder and keep the old one beside it: what its jobs were is no longer known."""
        path = self.folder.path
        path.rename(path.with_name(path.name + suffix))
        self.folder.close()
        self.open()

    def publish(self, job_id: str, workspace: Path, dir_fd: int | None = None) -> bool:
        """Take `out/` from the workspace of a job of which nothing runs any more. False: there is nothing in it.

        Raises OSError.
        """
        if not _has_entries(workspace / OUT, dir_fd):
            return False
        self.folder.look()
        self.discard(job_id)
        published = self.folder.path / job_id
        os.rename(workspace / OUT, published, src_dir_fd=dir_fd)
        # Looked at where no job can change it any more: a job can put another user's folder in its place.
        if published.lstat().st_uid != os.lstat(workspace, dir_fd=dir_fd).st_uid:
            self.discard(job_id)
            raise PermissionError(errno.EPERM, f"`{OUT}/` belongs to another user")
        return True

    def discard(self, job_id: str) -> bool:
        """The job is forgotten. True when nothing is there any more."""
        return self._trash.take(self.folder, job_id)

    def list(self, job_id: str) -> tuple[list[FoundFile], bool]:
        """The job's files, and whether there are more than are listed. Raises OSError."""
        return list_files(self.folder.path / job_id, MAX_LISTED)

    def open_file(self, job_id: str, path: bytes) -> int:
        """A descriptor for reading. Raises NotFound for what is no ordinary file of this job's.

        Raises OSError when the machine failed, and the file may be there.
        """
        try:
            return open_file(self.folder.path / job_id, path.split(b"/"))
        except OSError as exc:
            if is_our_own(exc):
                raise
            shown = path[:200].decode("utf-8", "backslashreplace")
            raise NotFound(f"cannot find file {shown!r}: job {job_id} has left none of that name") from None


def _has_entries(folder: Path, dir_fd: int | None) -> bool:
    """Whether it is a folder, and not empty."""
    try:
        opened = os.open(folder, _FOLDER, dir_fd=dir_fd)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        if exc.errno == errno.ELOOP:  # the job has made a link of it, as some systems tell
            return False
        raise
    try:
        with os.scandir(opened) as entries:
            return next(entries, None) is not None
    finally:
        os.close(opened)
