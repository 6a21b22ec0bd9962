"""Change to the user that a job runs as: the last thing that the runner does as root.

The guardian stays root, so it can end everything that the job starts, and the job cannot signal it.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from runner import posix
from runner.protocol import User


def give_workspace(workspace: Path, user: User) -> None:
    """Make the user the owner. The folder itself comes last: until then no other process of the user can enter it."""
    for path in (*workspace.iterdir(), workspace):
        os.chown(path, user.uid, user.gid, follow_symlinks=False)


def become(user: User) -> None:
    """Change to the user and its groups for good. Set-user-ID programs give no privileges any more either.

    Raise OSError; the caller must then end.
    """
    guardian_pid = os.getppid()
    for output_fd in (1, 2):
        os.fchown(output_fd, user.uid, user.gid)  # so that the job can open /dev/stdout, as any program can
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    posix.forbid_new_privileges()
    posix.set_parent_death_signal(signal.SIGKILL)  # again, because the kernel forgot it with the old credentials
    if os.getppid() != guardian_pid:
        os._exit(0)  # the guardian died before the line above
