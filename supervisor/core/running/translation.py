"""Translate a job to an engine's order, and an engine's report of the end to an input of the state machine."""

from __future__ import annotations

from supervisor.core.jobs.inputs import Gone
from supervisor.core.jobs.model import Job
from supervisor.engine.order import Needs, Order
from supervisor.engine.report import Ended


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


def gone_of(ended: Ended, *, cancelled: bool) -> Gone:
    """Return the input that ends the job. If it was cancelled only after the proof, its end took no time."""
    return Gone(
        proof=ended.proof,
        error=ended.error,
        limit=ended.limit,
        leftovers=ended.leftovers,
        processes_seen=ended.processes_seen,
        acknowledged_ms=ended.acknowledged_ms,
        terminated_ms=ended.terminated_ms,
        killed_ms=ended.killed_ms,
        gone_ms=0.0 if cancelled and ended.gone_ms is None else ended.gone_ms,
        workspace_removed=ended.workspace_removed,
    )
