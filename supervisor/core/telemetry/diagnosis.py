"""What an operator needs to see of a stuck job: what is wrong, where its code is, what its processes do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from supervisor.core.jobs.model import Stuck
from supervisor.core.running.controller import JobController
from supervisor.engine.inspection import ProcessRow, StackDump
from supervisor.errors import NotReady


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`stuck.stack` is as it is now, or as it was when the rule fired if there is none now."""

    job_id: str
    task: str
    stuck: Stuck
    processes: list[ProcessRow]


async def take_stack(controller: JobController, *, native: bool = False) -> StackDump:
    """Return the stacks of the job's runner, or why there are none. Bounded."""
    if controller.attempt is None:
        return StackDump(None, datetime.now(UTC), "the job has no process yet")
    return await controller.attempt.stacks(native=native)


async def diagnose(controller: JobController, stuck: Stuck) -> Diagnosis:
    """Look at a job that was found `stuck`. Bounded."""
    record = controller.record
    stack = await take_stack(controller)
    if stack.text is not None:
        stuck = Stuck(stuck.rule, stuck.words, stuck.since, stack.text)
    rows: list[ProcessRow] = []
    if controller.attempt is not None:
        try:
            rows = await controller.attempt.processes()
        except NotReady:
            rows = []  # too much is looked at: what is wrong is more than which processes do it
    return Diagnosis(record.job.id, record.job.request.task, stuck, rows)


def as_found(controller: JobController, stuck: Stuck) -> Diagnosis:
    """Return the same of a job that there is no time to look at."""
    return Diagnosis(controller.record.job.id, controller.record.job.request.task, stuck, [])
