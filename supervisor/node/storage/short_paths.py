"""Short paths of workspaces, for the folders of a job in which programs create Unix sockets.

The path of a socket has at most 107 bytes, see unix(7). STATE_DIR and a job's ID may be longer than that together, so a
workspace whose folders would be too deep gets a symbolic link in a folder of the server near the root.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

import structlog

MAX_FOLDER_BYTES = 66
"""The longest path of a job's folder: with "/" it leaves 40 bytes for a socket's name."""
LONGEST_FOLDER = ".home"
"""The longest name of the folders in a workspace in which jobs create sockets: HOME, TMPDIR, XDG_RUNTIME_DIR."""
PLACES = (Path("/run"), Path("/tmp"))  # noqa: S108  # only root may write to the first, and no cleaner looks there

log = structlog.get_logger()


class ShortPaths:
    """The links of one server. `of` creates one where it is needed, `drop` removes it with the workspace."""

    def __init__(self, state_dir: Path, places: tuple[Path, ...] = PLACES) -> None:
        digest = hashlib.sha256(os.fsencode(state_dir.absolute())).hexdigest()[:8]
        self._name = f"deadstop-{digest}"
        self._places = places
        self._folder: Path | None = None
        self._links: dict[str, Path] = {}
        self._next = 0
        self._mode = 0o700
        self._failure: str | None = None

    def open(self, *, for_other_users: bool = False) -> None:
        """Remove the links that an earlier server of this STATE_DIR left.

        Other users may follow links, but not list them.
        """
        self._mode = 0o711 if for_other_users else 0o700
        for place in self._places:
            if _is_ours(place / self._name):
                _remove(place / self._name)

    def of(self, job_id: str, workspace: Path) -> Path:
        """Return the path for the job's folders: a link, if one is needed and can be created."""
        if len(os.fsencode(workspace / LONGEST_FOLDER)) <= MAX_FOLDER_BYTES:
            return workspace
        try:
            if job_id not in self._links:
                self._links[job_id] = self._new_link(workspace)
        except OSError as exc:
            # Every place is read-only or full. The job still runs, but cannot bind sockets with long names.
            self._note(exc)
            return workspace
        self._note(None)
        return self._links[job_id]

    def drop(self, job_id: str) -> None:
        """Remove the job's link, if it has one."""
        link = self._links.pop(job_id, None)
        if link is not None:
            link.unlink(missing_ok=True)  # a clean-up program of /tmp may have removed it

    def close(self) -> None:
        if self._folder is not None:
            _remove(self._folder)
            self._folder = None
            self._links.clear()

    def _new_link(self, workspace: Path) -> Path:
        link = self._made_folder() / str(self._next)
        self._next += 1
        link.symlink_to(workspace.absolute())
        return link

    def _note(self, failure: OSError | None) -> None:
        message = None if failure is None else str(failure)
        if message is not None and message != self._failure:
            log.warning("short_path_failed", error=message)
        self._failure = message

    def _made_folder(self) -> Path:
        # It is created with the first link, and again after a clean-up program of /tmp has removed it.
        if self._folder is None or not _is_ours(self._folder):
            self._folder = self._new_folder()
            self._folder.chmod(self._mode)
        return self._folder

    def _new_folder(self) -> Path:
        for place in self._places:
            folder = place / self._name
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                if not _is_ours(folder):
                    continue  # it belongs to another user, and must not get our links
            except OSError:
                continue  # it is missing, read-only, or not for this user
            return folder
        return Path(tempfile.mkdtemp(prefix="deadstop-", dir=self._places[-1]))


def _is_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _remove(folder: Path) -> None:
    """Remove the folder with its links. Other files in it were not created by a server, and stay with the folder."""
    try:
        for link in folder.iterdir():
            if link.is_symlink():
                link.unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        return  # it was removed already, or is not empty: the next server of this STATE_DIR tries again
