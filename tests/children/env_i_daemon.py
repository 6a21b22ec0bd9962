"""A daemon with an empty environment: it forgot its parent, its session and every variable that could mark it."""

from __future__ import annotations

from tests.children.stage import LIFETIME_S, Muster, Stage, start


def misbehave(stage: Stage) -> None:
    muster = Muster()
    daemon = f"trap '' TERM HUP; cd /; {muster.report}; exec sleep {LIFETIME_S}"
    parent = start(
        ["env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", f"({daemon}) &"],
        [stage.beacon, muster.fd],
        new_session=True,
        quiet=True,
    )
    parent.wait()
    muster.wait(1)
    stage.ready()
    stage.linger()
