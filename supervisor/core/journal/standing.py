"""How far the writing of one job has come, as the event loop knows it."""

from __future__ import annotations

import asyncio

from supervisor.core.model import State
from supervisor.core.registry import Record


class Standing:
    """Belongs to the journal's face. `new`: the writer has not heard of the job yet."""

    def __init__(self, record: Record, *, new: bool) -> None:
        self.record = record
        self.new = new
        self.state: State | None = None
        """As it was last noted: another one is to be on the disk before it is told."""
        self.version = 0
        self.written_version = 0
        self.settled = asyncio.Event()
        """The job's first row was written, or refused."""
        self.refusal: str | None = None
