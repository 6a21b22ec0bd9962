"""Translate a job to an engine's order."""

from __future__ import annotations

from supervisor.core.jobs.model import Job
from supervisor.engine.order import Needs, Order


def needs_of(job: Job) -> Needs:
    """Return the requirements of this job for its reservation."""
    return Needs(job.containment, job.request.limits, job.request.labels)


def order_of(job: Job, *, module: str, budget_s: float) -> Order:
    """Return the order for one attempt. `module` defines the task."""
    request = job.request
    return Order(
        job_id=job.id,
        module=module,
        task=request.task,
        input=request.input,
        needs=needs_of(job),
        budget_s=budget_s,
        environment={} if request.trace is None else request.trace.environment(),
        keep_files=request.keep_files,
    )
