"""What the server's own process must be before it holds jobs."""

from __future__ import annotations

import os
import sys

from runner import posix


def become_server(*, has_tasks: bool) -> posix.Limit:
    """Hide this process's memory from its user's others, and let it open as many files as it may.

    Return the limit of open files as it was, which is what jobs get. `has_tasks`: it was given modules of tasks.
    """
    posix.set_dumpable(False)
    if has_tasks and os.getcwd() not in sys.path:  # noqa: PTH109
        # Task modules live where the server was started; last, so that they shadow nothing of ours.
        sys.path.append(os.getcwd())  # noqa: PTH109
    return posix.raise_open_files_limit()
