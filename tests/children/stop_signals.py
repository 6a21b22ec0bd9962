"""A program that writes down each signal that would end it, and cleans up for a while after the first.

`python tests/children/stop_signals.py FIFO FILE SECONDS`: writes READY into FIFO once its handlers are set. A hang-up
cuts its clean-up short, and so does a second SIGTERM later than what a wrapper may have passed on.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

WATCHED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
PASSED_ON_S = 0.2


def main(ready: str, file: str, seconds: float) -> None:
    got: list[str] = []
    began = [0.0]

    def note(number: int, _frame: object) -> None:
        got.append(signal.Signals(number).name)
        Path(file).write_text(" ".join(got), encoding="ascii")
        now = time.monotonic()
        began[0] = began[0] or now
        if number != signal.SIGTERM or now - began[0] > PASSED_ON_S:
            os._exit(1)

    for number in WATCHED:
        signal.signal(number, note)
    Path(ready).write_text("READY", encoding="ascii")
    while not got:
        time.sleep(0.05)
    while (left := began[0] + seconds - time.monotonic()) > 0:
        time.sleep(left)
    Path(file).write_text(" ".join([*got, "clean"]), encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
