"""The `deadstop` command: replaces itself by `python -P -m supervisor`.

multiprocessing makes the children of a console script import that script again, and with it the whole server,
as `__mp_main__`; under `-m` it does not. `-P` keeps the current directory out of `sys.path`, so that a file of
the user's named `runner.py` or `supervisor.py` does not take the place of ours.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Never returns. `supervisor.__main__` unblocks SIGINT, so a Ctrl-C in between is neither lost nor a traceback."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.execv(sys.executable, [sys.executable, "-P", "-m", "supervisor", *sys.argv[1:]])  # noqa: S606
