"""A child in a session of its own that ignores SIGTERM and SIGHUP: killpg() of the root does not reach it."""

from __future__ import annotations

from tests.children.stage import LIFETIME_S, Muster, Stage, start


def misbehave(stage: Stage) -> None:
    muster = Muster()
    script = f"trap '' TERM HUP; {muster.report}; exec sleep {LIFETIME_S}"
    child = start(["sh", "-c", script], [stage.beacon, muster.fd], new_session=True)
    muster.wait(1)
    stage.ready()
    child.wait()
