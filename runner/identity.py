"""Becoming the user that a job runs as, for good: the last thing that the runner does as root.

The guardian stays root: it can end whatever the job starts, and the job cannot signal it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from runner.protocol import User

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def give_workspace(workspace: Path, user: User) -> None:
    """Make it the user's. The folder itself comes last: until then no other process of the user gets into it."""
    for path in (*workspace.iterdir(), workspace):
        os.chown(path, user.uid, user.gid, follow_symlinks=False)


def become(user: User) -> None:
    """Change to the user, with its groups and no way back: not even set-user-ID programs give privileges any more.

    Raises OSError; the caller must not go on then.
    """
    guardian_pid = os.getppid()
    for output_fd in (1, 2):
        os.fchown(output_fd, user.uid, user.gid)  # so that the job can open /dev/stdout, as any program can
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # The kernel forgets this when credentials change, see PR_SET_PDEATHSIG(2const).
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian_pid:
        os._exit(0)  # the guardian died before the line above


def _prctl(option: int, value: int) -> None:
    if _libc is not None and _libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
