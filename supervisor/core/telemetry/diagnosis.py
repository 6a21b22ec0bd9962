"""Diagnose a stuck job for operators: the finding, the stack of its code, and its processes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from supervisor.core.jobs.model import Stuck
from supervisor.core.running.controller import JobController
from supervisor.engine.inspection import ProcessRow, StackDump
from supervisor.errors import NotReady


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A diagnosed job. `stuck.stack` is the present stack, or else the one that was taken when the rule fired."""

    job_id: str
    task: str
    stuck: Stuck
    processes: list[ProcessRow]


async def take_stack(controller: JobController, *, native: bool = False) -> StackDump:
    """Return the stacks of the job's runner, or why there are none, in a bounded time."""
    if controller.attempt is None:
        return StackDump(None, datetime.now(UTC), "the job has no process yet")
    return await controller.attempt.stacks(native=native)


async def diagnose(controller: JobController, stuck: Stuck) -> Diagnosis:
    """Diagnose a job that was found `stuck`, in a bounded time."""
    record = controller.record
    stack = await take_stack(controller)
    if stack.text is not None:
        stuck = Stuck(stuck.rule, stuck.words, stuck.since, stack.text)
    rows: list[ProcessRow] = []
    if controller.attempt is not None:
        try:
            rows = await controller.attempt.processes()
        except NotReady:
            rows = []  # the machine is too busy: the finding matters more than the list of processes
    return Diagnosis(record.job.id, record.job.request.task, stuck, rows)


def as_found(controller: JobController, stuck: Stuck) -> Diagnosis:
    """Return the finding alone, for a job that there is no time to diagnose."""
    return Diagnosis(controller.record.job.id, controller.record.job.request.task, stuck, [])
