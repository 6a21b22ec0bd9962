"""Many jobs that ignore SIGTERM and whose streams are all closed at once, seen from outside."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.children.stage import LIFETIME_S
from tests.support.client import EventStream
from tests.support.leaks import is_of_multiprocessing
from tests.support.observer import Beacon, Handle, Watched, descendants, describe
from tests.support.server import RunningServer

START_TIMEOUT_S = 60.0
TREE = 4
"""Processes of each job's command: a shell and three more, one of them in a session of its own."""


@dataclass(frozen=True, slots=True)
class MassCancel:
    """The result. `gone_s` runs from the first hang-up to the end of the last process, seen from outside."""

    gone_s: float
    left: str
    jobs: list[dict[str, Any]]

    @property
    def gone_ms(self) -> list[float]:
        """Return `gone_ms` of each job, which the server counts from the moment it noticed the hang-up."""
        return [job["cancellation"]["gone_ms"] for job in self.jobs]

    @property
    def within_budget(self) -> int:
        """Return how many jobs are cancelled with a proof that came in time."""
        return sum(job["state"] == "cancelled" and job["cancellation"]["within_budget"] for job in self.jobs)


def is_of_a_set(process: Handle) -> bool:
    """Whether it is of an attempt set itself: a guardian, a runner or a tracker."""
    return process.name.startswith("deadstop-") or is_of_multiprocessing(process.pid)


def command(beacon: Path) -> str:
    # An ignored signal stays ignored in what a shell starts.
    sleep = f"sleep {LIFETIME_S * 3}"
    return f"trap '' TERM; exec 9>'{beacon}'; {sleep} & {sleep} & setsid {sleep} & echo READY; wait"


def hang_up_on_many(server: RunningServer, count: int, folder: Path, bound_s: float = 10.0) -> MassCancel:
    """Start `count` jobs, wait until each is in place, close all their streams at once and wait for the ends."""
    idle = set(descendants(server.pid))
    with contextlib.ExitStack() as stack:
        beacon = stack.enter_context(Beacon(folder / f"mass-{count}.fifo"))
        body = {"task": "shell", "input": {"command": command(beacon.path), "terminal": False}}
        streams = [stack.enter_context(EventStream(server.url, server.token, body=body)) for _ in range(count)]
        for stream in streams:
            stream.until_output("READY", START_TIMEOUT_S)
        tree = stack.enter_context(Watched(set(descendants(server.pid)) - idle))
        assert len(tree.handles) >= count * TREE
        hung_up = min(stream.hang_up() for stream in streams)
        gone = beacon.wait_eof(hung_up + bound_s)
        gone_s = time.monotonic() - hung_up
        # New idle sets have been started since the look before; they are not the jobs'.
        left = [one for one in tree.wait_gone(time.monotonic() + 1) if not is_of_a_set(one)]
        jobs = [server.wait_finished(stream.events[0].data["job_id"], bound_s) for stream in streams]
        return MassCancel(gone_s if gone else float("inf"), describe(left) if left else "", jobs)
