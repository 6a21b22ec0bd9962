"""The user's folders for settings and state, if there are any. The server and its clients find them in the same way.

Light on purpose: every command uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import platformdirs

APP = "deadstop"
WHAT_TO_DO = "HOME is not set and this user has no home directory: set DEADSTOP_STATE_DIR to a folder"


def user_config_folder() -> Path | None:
    """Return None if this user has no home directory; see `user_state_folder`."""
    return _found(platformdirs.user_config_path)


def user_state_folder() -> Path | None:
    """Return None if this user has no home directory: no HOME, and a user ID without an entry in the user database."""
    return _found(platformdirs.user_state_path)


def _found(find: Callable[[str], Path]) -> Path | None:
    try:
        folder = find(APP)
    except RuntimeError:
        return None
    # Some versions of platformdirs return the "~" that could not be replaced instead.
    return folder if folder.is_absolute() else None
