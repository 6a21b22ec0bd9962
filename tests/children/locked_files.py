"""Twenty temporary files, open and locked, their descriptors inherited by a child.

A killed root leaves the files where they are, and the locks stay held: a flock belongs to the open file, and the
child has it open.
"""

from __future__ import annotations

import fcntl
import os
import tempfile

from tests.children.stage import LIFETIME_S, Muster, Stage, start

COUNT = 20
PREFIX = "locked-"


def misbehave(stage: Stage) -> None:
    muster = Muster()
    files = []
    for _ in range(COUNT):
        fd, _path = tempfile.mkstemp(prefix=PREFIX)
        os.write(fd, b"half of what should be here")
        fcntl.flock(fd, fcntl.LOCK_EX)
        files.append(fd)
    script = f"{muster.report}; exec sleep {LIFETIME_S}"
    child = start(["sh", "-c", script], [stage.beacon, muster.fd, *files])
    muster.wait(1)
    stage.ready()
    child.wait()
