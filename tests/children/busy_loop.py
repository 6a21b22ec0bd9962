"""A Python loop that burns a core: no await, no system call, so no cancel by an event loop reaches it."""

from __future__ import annotations

from tests.children.stage import Stage


def misbehave(stage: Stage) -> None:
    stage.ready()
    while True:  # the self-destruct ends it
        pass
