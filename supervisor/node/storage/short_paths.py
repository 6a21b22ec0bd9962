"""Short paths of workspaces, for the folders of a job in which programs make Unix sockets.

The path of a socket has at most 107 bytes, see unix(7). STATE_DIR and a job's id may be longer than that together, so
a workspace whose folders would be too deep gets a symbolic link in a folder of the server's own near the root.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

import structlog

MAX_FOLDER_BYTES = 66
"""A folder of a job may have so long a path: with "/", 40 bytes of a socket's name are left."""
LONGEST_FOLDER = ".home"
"""The longest name of the folders in a workspace that jobs put sockets into: HOME, TMPDIR, XDG_RUNTIME_DIR."""
PLACES = (Path("/run"), Path("/tmp"))  # noqa: S108  # only root may write to the first, and no cleaner looks there

log = structlog.get_logger()


class ShortPaths:
    """The links of one server. `of` makes one where it is needed, `drop` removes it with the workspace."""

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

        Other users may follow links, and not list them.
        """
        self._mode = 0o711 if for_other_users else 0o700
        for place in self._places:
            if _is_ours(place / self._name):
                _remove(place / self._name)

    def of(self, job_id: str, workspace: Path) -> Path:
        """The path of `workspace` to name the job's folders by: a link where it needs one and can have it."""
        if len(os.fsencode(workspace / LONGEST_FOLDER)) <= MAX_FOLDER_BYTES:
            return workspace
        try:
            if job_id not in self._links:
                self._links[job_id] = self._new_link(workspace)
        except OSError as exc:
            # Every place is read-only or full. The job runs all the same, and only long sockets cannot be bound in it.
            self._note(exc)
            return workspace
        self._note(None)
        return self._links[job_id]

    def drop(self, job_id: str) -> None:
        """Remove the job's link, if it has one."""
        link = self._links.pop(job_id, None)
        if link is not None:
            link.unlink(missing_ok=True)  # a cleaner of /tmp may have been here

    def close(self) -> None:
        """Remove what is left."""
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
        said = None if failure is None else str(failure)
        if said is not None and said != self._failure:
            log.warning("short_path_failed", error=said)
        self._failure = said

    def _made_folder(self) -> Path:
        # Made with the first link, and again after a cleaner of /tmp has removed it.
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
                    continue  # another user was faster: it must not be in the way, nor hold our links
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
    """Remove the folder with its links. What is not a link was made by somebody else, and stays with the folder."""
    try:
        for link in folder.iterdir():
            if link.is_symlink():
                link.unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        return  # it is gone already, or not empty: the next server of this STATE_DIR tries again
