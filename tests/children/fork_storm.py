"""A fork storm: four chains of processes, each link in a session of its own, gone before a snapshot is read.

Each process has forked its successor by the time it is killed, so reading the tree once and killing the processes in
that list never ends the storm. The storm has three bounds: every fork needs a token from a pipe that holds FORKS of
them, every link has an alarm, and the last link of a chain only sleeps. It sends no signals.
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
