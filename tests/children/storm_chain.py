"""One chain of the fork storm: `storm_chain.py TOKENS_FD MUSTER_FD LIFETIME_S`. Imports nothing of ours."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import NoReturn

STEP_S = 0.004
"""Pause of a link before it forks: four chains fork some 800 times a second."""
LINGER_S = 0.05
"""How long a link stays after it forked: of four chains, some fifty are there at any time."""
REPORT_AT = 5
"""The link that says that the storm is up."""


def run(tokens: int, muster: int, lifetime_s: float) -> NoReturn:
    """Every process that returns from fork() as a child is the next link."""
    end = time.monotonic() + lifetime_s
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    link = 0
    while os.read(tokens, 1):
        if os.fork():
            time.sleep(LINGER_S)
            os._exit(0)
        signal.alarm(max(1, round(end - time.monotonic())))  # fork() has cleared it
        os.setsid()
        link += 1
        if link == REPORT_AT:
            os.write(muster, b"!")
        time.sleep(STEP_S)
    time.sleep(max(0.0, end - time.monotonic()))
    os._exit(0)


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
