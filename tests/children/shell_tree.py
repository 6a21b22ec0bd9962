"""Three levels of shells: killing the root leaves its children, which hold its stdout open."""

from __future__ import annotations

from tests.children.stage import LIFETIME_S, Muster, Stage, start


def misbehave(stage: Stage) -> None:
    muster = Muster()
    leaf = f"{muster.report}; exec sleep {LIFETIME_S}"
    middle = f"sh -c '{leaf}' & {muster.report}; sleep {LIFETIME_S}"
    top = f'sh -c "{middle}" & {muster.report}; wait'
    child = start(["sh", "-c", top], [stage.beacon, muster.fd])
    muster.wait(3)
    stage.ready()
    child.wait()
