"""Remove a folder, whatever a job has put into it."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path


def remove_tree(path: Path, hoist_to: Path) -> Iterator[str]:
    """Remove `path`. Yield what could not be removed, and why.

    Each inner folder is first moved up into `hoist_to`: a job can nest folders deeper than paths may be long, or than a
    recursion can go. Missing permission bits of the owner are added.
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
        # Moving a folder changes its `..`, which requires permission to write to it. This does not happen to root, who
        # must not do this: a process of the user that jobs run as could put a link in the folder's place.
        folder.chmod(0o700)
        return folder.rename(inner)
