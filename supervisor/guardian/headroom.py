"""Descriptors that stay free for stopping jobs: code that opens many of them checks here first."""

from __future__ import annotations

import errno
import os

FOR_STOPS = 24
"""The descriptors for a backstop's round over several trees, the survivors' names and a file of the journal at once."""


def require_descriptors(count: int) -> None:
    """Raise OSError (EMFILE) unless this process can open `count` more descriptors and FOR_STOPS besides.

    The check opens them for a moment, because no call counts the free descriptors below a limit.
    """
    taken: list[int] = []
    try:
        taken += os.pipe()
        while len(taken) < count + FOR_STOPS:
            taken.append(os.dup(taken[0]))
    except OSError as exc:
        if exc.errno != errno.EMFILE:
            raise
        message = f"too few descriptors are free: {count} are needed, and {FOR_STOPS} are kept for stopping jobs"
        raise OSError(errno.EMFILE, message) from None
    finally:
        for fd in taken:
            os.close(fd)
