"""The files that jobs leave for people: the contents of `out/`, moved out of the workspace by one rename at the job's
end.

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
    """The folder `files` in STATE_DIR, with one folder per job that left files. Methods take as long as the disk
    does.
    """

    def __init__(self, state_dir: Path, trash: Trash) -> None:
        self.folder = Folder(state_dir / "files", held=True)
        self._trash = trash

    def open(self) -> None:
        """Create the folder. Raise OSError."""
        self.folder.open()

    def keep_only(self, is_known: Callable[[str], bool]) -> None:
        """Dispose of the files of unknown jobs. For the start, after the journal was read."""
        for left in os.listdir(self.folder.path):
            if not is_known(left):
                self._trash.take(self.folder, left)

    def set_aside(self, suffix: str) -> None:
        """Start with an empty folder and keep the old one beside it, because its jobs are no longer known."""
        path = self.folder.path
        path.rename(path.with_name(path.name + suffix))
        self.folder.close()
        self.open()

    def publish(self, job_id: str, workspace: Path, dir_fd: int | None = None) -> bool:
        """Take `out/` from the workspace of a job of which nothing runs any more. Return False if it is empty.

        Raise OSError.
        """
        if not _has_entries(workspace / OUT, dir_fd):
            return False
        self.folder.look()
        self.discard(job_id)
        published = self.folder.path / job_id
        os.rename(workspace / OUT, published, src_dir_fd=dir_fd)
        # Check it where no job can change it any more: a job can put another user's folder in its place.
        if published.lstat().st_uid != os.lstat(workspace, dir_fd=dir_fd).st_uid:
            self.discard(job_id)
            raise PermissionError(errno.EPERM, f"`{OUT}/` belongs to another user")
        return True

    def discard(self, job_id: str) -> bool:
        """Remove the files of a forgotten job. Return True if nothing is there any more."""
        return self._trash.take(self.folder, job_id)

    def list(self, job_id: str) -> tuple[list[FoundFile], bool]:
        """Return the job's files, and whether there are more than are listed. Raise OSError."""
        return list_files(self.folder.path / job_id, MAX_LISTED)

    def open_file(self, job_id: str, path: bytes) -> int:
        """Return a descriptor for reading. Raise NotFound if it is not an ordinary file of this job.

        Raise OSError if the machine failed, so that the file may be there.
        """
        try:
            return open_file(self.folder.path / job_id, path.split(b"/"))
        except OSError as exc:
            if is_our_own(exc):
                raise
            shown = path[:200].decode("utf-8", "backslashreplace")
            raise NotFound(f"cannot find file {shown!r}: job {job_id} has left none of that name") from None


def _has_entries(folder: Path, dir_fd: int | None) -> bool:
    """Return whether it is a folder, and not empty."""
    try:
        opened = os.open(folder, _FOLDER, dir_fd=dir_fd)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        if exc.errno == errno.ELOOP:  # the job has replaced it with a link, which some systems report like this
            return False
        raise
    try:
        with os.scandir(opened) as entries:
            return next(entries, None) is not None
    finally:
        os.close(opened)
