"""`python -m supervisor`: makes Ctrl-C clean from the first moment, then runs the command line.

If Python is started with SIGINT blocked, as `run_api.sh` and `deadstop` do, a Ctrl-C never prints a traceback: one that
comes while the interpreter starts is delivered here, after our handler is in place. Commands that have something to
undo (`serve`, `run`) replace the handler once they have.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn


def _interrupted(_signum: int, _frame: object) -> NoReturn:
    try:
        os.write(2, b"deadstop: interrupted\n")
    finally:
        os._exit(130)


def _open_missing_streams() -> None:
    """Open /dev/null for each closed standard stream. Otherwise the next socket would get its number and our output."""
    for fd, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, so it is `fd`
            os.set_inheritable(fd, True)  # children need the streams as well
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r", closefd=False))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _interrupted)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _open_missing_streams()

    # Only now: everything above takes a millisecond, the imports below take some hundred.
    from supervisor.cli.app import main

    sys.exit(main(sys.argv[1:]))
