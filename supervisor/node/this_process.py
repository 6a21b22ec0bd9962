"""Prepare the server's own process for running jobs."""

from __future__ import annotations

import os
import sys

from runner import posix


def become_server(*, has_tasks: bool) -> posix.Limit:
    """Protect this process's memory from other processes of its user, and raise its limit of open files.

    Return the original limit of open files, which jobs get. `has_tasks`: the server has task modules of its own.
    """
    posix.set_dumpable(False)
    if has_tasks and os.getcwd() not in sys.path:  # noqa: PTH109
        # Task modules are in the folder where the server was started. It comes last, so they shadow no other module.
        sys.path.append(os.getcwd())  # noqa: PTH109
    return posix.raise_open_files_limit()
