"""SIGTERM, SIGHUP and SIGINT ignored: terminate() returns, and nothing happens."""

from __future__ import annotations

import signal
import time

from tests.children.stage import LIFETIME_S, Stage


def misbehave(stage: Stage) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    stage.ready()
    time.sleep(LIFETIME_S)
