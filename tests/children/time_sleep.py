"""One long time.sleep(): never asks, never writes, so a closed pipe is never noticed."""

from __future__ import annotations

import time

from tests.children.stage import LIFETIME_S, Stage


def misbehave(stage: Stage) -> None:
    stage.ready()
    time.sleep(LIFETIME_S)
