"""A daemon by the book: new session, second fork, parent gone. It is nobody's descendant any more.

A tree walk from the root does not find it, and neither does its process group or its session's leader.
"""

from __future__ import annotations

from tests.children.stage import LIFETIME_S, Muster, Stage, start


def misbehave(stage: Stage) -> None:
    muster = Muster()
    daemon = f"trap '' TERM HUP; cd /; {muster.report}; exec sleep {LIFETIME_S}"
    # The new session's leader puts the daemon in the background and ends.
    parent = start(["sh", "-c", f"({daemon}) &"], [stage.beacon, muster.fd], new_session=True, quiet=True)
    parent.wait()
    muster.wait(1)
    stage.ready()
    stage.linger()
