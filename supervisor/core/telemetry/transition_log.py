"""Log one line for each change of a job's state and each step of the ladder."""

from __future__ import annotations

import structlog

from supervisor.core.jobs.inputs import CancelRequested, Input
from supervisor.core.jobs.model import Job
from supervisor.core.jobs.registry import LiveJob
from supervisor.engine.report import Acknowledged, Signalled

MAX_SHOWN = 50

log = structlog.get_logger()


def born(record: LiveJob) -> None:
    """Log a new job, in a line that connects its ID with its request and the caller's trace."""
    job, trace = record.job, record.job.request.trace
    marks = {} if trace is None else {"request_id": trace.request_id, "trace_id": trace.trace_id}
    log.info("job_state", job_id=job.id, state=str(job.state), from_state=None, task=job.request.task, **marks)


def tell(record: LiveJob, before: Job, fact: Input) -> None:
    """Log an input that a job has accepted. `before` is the job as it was."""
    job = record.job
    line = log.bind(job_id=job.id, phase=job.phase, elapsed_ms=_elapsed_ms(record))
    if job.cancellation is not None:
        line = line.bind(reason=str(job.cancellation.reason))
    match fact:
        case Acknowledged(ms) if before.cancellation is not None and not before.state.terminal:
            line.info("cancel_acknowledged", ms=ms)
        case Signalled(name, shown, ms) if before.cancellation is not None and not before.state.terminal:
            line.info(
                "cancel_signalled", signal=name, ms=ms, **{key: value[:MAX_SHOWN] for key, value in shown.items()}
            )
        case CancelRequested(cause, _) if before.state is job.state and not before.state.terminal:
            line.info("cancel_again", again=str(cause.reason), force=cause.force)
        case _:
            pass
    if job.state is not before.state:
        line.info("job_state", **_change(job, before))


def _change(job: Job, before: Job) -> dict[str, object]:
    fields: dict[str, object] = {"state": str(job.state), "from_state": str(before.state), "task": job.request.task}
    if job.cancellation is not None:
        record = job.cancellation
        fields |= {"force": record.force}
        if job.state.terminal:
            fields |= {
                "method": None if record.method is None else str(record.method),
                "proof": str(record.proof),
                "gone_ms": record.gone_ms,
                "within_budget": record.within_budget,
            }
    elif job.error is not None:
        fields |= {"error": job.error.kind}
    return fields


def _elapsed_ms(record: LiveJob) -> float:
    """Return the time since the job was created."""
    return round((record.pulse.now() - record.pulse.born_at) * 1000, 1)
