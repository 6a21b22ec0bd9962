"""A loop that asks whether to stop. It ends at once when somebody tells it; closing its pipe tells it nothing."""

from __future__ import annotations

import time

from tests.children.stage import LIFETIME_S, Stage


def misbehave(stage: Stage) -> None:
    stage.ready()
    end = time.monotonic() + LIFETIME_S
    while not stage.cancelled() and time.monotonic() < end:
        time.sleep(0.01)
