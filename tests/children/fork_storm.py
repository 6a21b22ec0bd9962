"""A fork storm: four chains of processes, each link in a session of its own, gone before a snapshot is read.

While one process is killed its successor has been forked, so whoever reads the tree once and kills what is in the
list never ends it. Bounded three times: every fork needs a token from a pipe that holds FORKS of them, every link
has an alarm, and the last link of a chain only sleeps. It signals nobody.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.children.stage import LIFETIME_S, Muster, Stage, python, start

CHAINS = 4
FORKS = 6000
"""Enough for about eight seconds."""

_CHAIN = Path(__file__).with_name("storm_chain.py")


def misbehave(stage: Stage) -> None:
    muster = Muster()
    tokens, bank = os.pipe()
    os.write(bank, b"." * FORKS)  # a pipe holds 64 KiB
    os.close(bank)
    for _ in range(CHAINS):
        argv = python(str(_CHAIN), str(tokens), str(muster.fd), str(LIFETIME_S))
        start(argv, [stage.beacon, tokens, muster.fd], quiet=True)
    os.close(tokens)
    muster.wait(CHAINS)
    stage.ready()
    stage.linger()
