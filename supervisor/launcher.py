"""The `deadstop` command: replaces itself by `python -P -m supervisor`.

multiprocessing makes the children of a console script import that script again, and with it the whole server,
as `__mp_main__`; under `-m` it does not. `-P` keeps the current directory out of `sys.path`, so that a user's file
named `runner.py` or `supervisor.py` is not imported instead of ours.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the server's command line with SIGINT blocked, so that a Ctrl-C is neither lost nor prints a traceback.

    `supervisor.__main__` unblocks the signal.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.execv(sys.executable, [sys.executable, "-P", "-m", "supervisor", *sys.argv[1:]])  # noqa: S606
