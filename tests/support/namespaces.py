"""Jobs in a pid namespace, seen from the host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from supervisor.core.jobs.registry import LiveJob
from supervisor.core.supervisor import Supervisor
from supervisor.engine.containment import Proof
from tests.support.attempts import guardian_pid
from tests.support.core import cancel, ended
from tests.support.observer import Watched, snapshot


def watched(record: LiveJob) -> Watched:
    """Return handles on the guardian and all of its descendants."""
    assert guardian_pid(record)
    return snapshot(guardian_pid(record))


@contextlib.contextmanager
def told(fifo: Path, line: str) -> Iterator[None]:
    """Write the line into the FIFO for readers during the block. Opened this way, it does not wait for a reader."""
    with fifo.open("r+b", buffering=0) as pipe:
        pipe.write(f"{line}\n".encode())
        yield


async def check_cancelled(supervisor: Supervisor, record: LiveJob) -> None:
    cancel(supervisor, record)
    await ended(record, 3)
    assert record.job.cancellation is not None
    assert record.job.cancellation.within_budget is True
    assert record.job.cancellation.proof is Proof.PIDNS_GONE
