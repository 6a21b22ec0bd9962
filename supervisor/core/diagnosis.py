"""What an operator needs to see of a stuck job: what is wrong, where its code is, what its processes do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from supervisor.core import processes
from supervisor.core.model import Stuck
from supervisor.core.owner import Owner
from supervisor.core.processes import ProcessRow
from supervisor.core.stack import take_stack


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`stuck.stack` is as it is now, or as it was when the rule fired if there is none now."""

    job_id: str
    task: str
    stuck: Stuck
    processes: list[ProcessRow]


async def diagnose(owner: Owner, stuck: Stuck) -> Diagnosis:
    """Look at a job that was found `stuck`. Bounded."""
    record = owner.record
    stack = await take_stack(owner)
    if stack.text is not None:
        stuck = Stuck(stuck.rule, stuck.words, stuck.since, stack.text)
    rows: list[ProcessRow] = []
    if record.guardian_pid is not None:
        rows = await asyncio.to_thread(processes.table, record.guardian_pid)
    return Diagnosis(record.job.id, record.job.request.task, stuck, rows)
