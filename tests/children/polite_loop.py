"""A loop that asks whether to stop. It ends when cancelled, but does not notice that its pipe is closed."""

from __future__ import annotations

import time

from tests.children.stage import LIFETIME_S, Stage


def misbehave(stage: Stage) -> None:
    stage.ready()
    end = time.monotonic() + LIFETIME_S
    while not stage.cancelled() and time.monotonic() < end:
        time.sleep(0.01)
