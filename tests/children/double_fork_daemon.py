"""A daemon made in the usual way: a new session, a second fork, and the parent exits. It has no ancestor in the job.

A walk of the process tree from the job's root does not find it. Its process group and its session do not lead to it.
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
