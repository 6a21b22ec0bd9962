"""The setting RUN_AS: the user for jobs of a server that is root. It is looked up and tried at the start."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Self

import structlog

from runner.protocol import User
from supervisor.engine.containment import Level
from supervisor.errors import StartupError

TRY_BOUND_S = 5.0
_GO_THERE = 'cd -- "$1"'

log = structlog.get_logger()


class RunAs:
    """`user` is None if jobs run as the server's user. `lacks` names abilities that the user lacks."""

    def __init__(self, user: User | None) -> None:
        self.user = user
        self.lacks: str | None = None

    @classmethod
    def find(cls, name: str | None) -> Self:
        """Look up the user. Raise StartupError if the setting cannot be used."""
        return cls(None if name is None else _look_up(name))

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that name the user to jobs."""
        return {} if self.user is None else {"USER": self.user.name, "LOGNAME": self.user.name}

    @property
    def rules_out(self) -> dict[Level, str]:
        """Return the levels of containment that cannot be used with this user, and why."""
        return (
            {}
            if self.user is None
            else {Level.PIDNS: "its user namespace has no other users: not with DEADSTOP_RUN_AS"}
        )

    @property
    def detail(self) -> str:
        return "jobs run as the server does" if self.user is None else f"jobs run as {self.user.name}"

    def try_out(self, workspaces: Path) -> None:
        """Enter the workspaces' folder as this user, and run Python. This takes some milliseconds.

        Raise StartupError if the first fails. If the second fails, set `lacks`.
        """
        if self.user is None:
            return
        if _run(self.user, ["/bin/sh", "-c", _GO_THERE, "sh", str(workspaces)]) is not None:
            raise StartupError(
                f"cannot use DEADSTOP_RUN_AS: {self.user.name} cannot get to {workspaces}; "
                "choose a DEADSTOP_STATE_DIR below folders that everybody may pass"
            )
        why = _run(self.user, [sys.executable, "-ISc", "import json"])
        if why is not None:
            self.lacks = (
                f"{self.user.name} cannot run {sys.executable} ({why}): jobs run commands, but Python tasks cannot "
                "import what is not loaded already; install Python and Deadstop where everybody can read them"
            )
            log.warning("run_as_without_python", user=self.user.name, python=sys.executable, why=why)


def _look_up(name: str) -> User:
    if os.geteuid() != 0:
        raise StartupError(f"cannot use DEADSTOP_RUN_AS: only root can run jobs as {name}; start the server as root")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise StartupError(f"cannot use DEADSTOP_RUN_AS: there is no user {name}") from None
    groups = os.getgrouplist(name, entry.pw_gid)
    if entry.pw_uid == 0 or 0 in groups:
        raise StartupError(f"cannot use DEADSTOP_RUN_AS: {name} is root or in root's group; name another user")
    return User(name, entry.pw_uid, entry.pw_gid, groups)


def _run(user: User, command: list[str]) -> str | None:
    """Return why the command failed, None if it did not."""
    try:
        done = subprocess.run(
            command,
            user=user.uid,
            group=user.gid,
            extra_groups=user.groups,
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TRY_BOUND_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return getattr(exc, "strerror", None) or str(exc)
    return None if done.returncode == 0 else f"exit code {done.returncode}"
