"""Descriptors that are kept free for what stops jobs: what takes many of them asks here first."""

from __future__ import annotations

import errno
import os

FOR_STOPS = 24
"""A backstop's round over several trees, the survivors' names and a file of the journal, at once."""


def require_descriptors(count: int) -> None:
    """Raise OSError (EMFILE) unless this process can open `count` more and FOR_STOPS besides.

    Looks by taking them for a moment: there is no call that counts what is free below a limit.
    """
    taken: list[int] = []
    try:
        taken += os.pipe()
        while len(taken) < count + FOR_STOPS:
            taken.append(os.dup(taken[0]))
    except OSError as exc:
        if exc.errno != errno.EMFILE:
            raise
        words = f"too few descriptors are free: {count} are needed, and {FOR_STOPS} are kept for stopping jobs"
        raise OSError(errno.EMFILE, words) from None
    finally:
        for fd in taken:
            os.close(fd)
