"""What an operator needs to see of a stuck job: what is wrong, where its code is, what its processes do."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.jobs.model import Stuck
from supervisor.core.running.controller import JobController
from supervisor.errors import NotReady
from supervisor.node.inspect.processes import ProcessRow
from supervisor.node.inspect.stack_taking import take_stack


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`stuck.stack` is as it is now, or as it was when the rule fired if there is none now."""

    job_id: str
    task: str
    stuck: Stuck
    processes: list[ProcessRow]


async def diagnose(owner: JobController, stuck: Stuck) -> Diagnosis:
    """Look at a job that was found `stuck`. Bounded."""
    record = owner.record
    stack = await take_stack(owner)
    if stack.text is not None:
        stuck = Stuck(stuck.rule, stuck.words, stuck.since, stack.text)
    rows: list[ProcessRow] = []
    if record.guardian_pid is not None:
        try:
            rows = await owner.looks.processes(record.guardian_pid)
        except NotReady:
            rows = []  # too much is looked at: what is wrong is more than who does it
    return Diagnosis(record.job.id, record.job.request.task, stuck, rows)


def as_found(owner: JobController, stuck: Stuck) -> Diagnosis:
    """The same of a job that there is no time to look at."""
    return Diagnosis(owner.record.job.id, owner.record.job.request.task, stuck, [])
