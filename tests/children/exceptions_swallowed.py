"""A bare `except` in a loop: whatever is raised to stop it, SystemExit and JobCancelled included, is swallowed."""

from __future__ import annotations

import time

from tests.children.stage import LIFETIME_S, Stage


def misbehave(stage: Stage) -> None:
    end = time.monotonic() + LIFETIME_S
    said = False
    while time.monotonic() < end:
        try:
            if not said:
                said = True
                stage.ready()
            time.sleep(0.05)
        except:  # noqa: E722 - this is the sin
            continue
