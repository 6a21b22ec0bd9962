"""Describe the end of an execution as an engine's report, with a reason if the task did not report one."""

from __future__ import annotations

import os
import signal

from supervisor.engine.containment import Proof
from supervisor.engine.report import Ended, JobError
from supervisor.guardian import protocol as guardian_protocol
from supervisor.guardian.protocol import LimitReached
from supervisor.node.reports import is_by_stop_signal


def ended_by_guardian(report: guardian_protocol.Ended) -> Ended:
    """Return the end that a guardian has reported and proven."""
    error = explain_status(report.runner_status)
    return Ended(
        proof=Proof(report.proof),
        error=error,
        by_stop_signal=is_by_stop_signal(error),
        limit=None if report.limit is None else explain_limit(report.limit),
        leftovers=report.leftovers,
        processes_seen=report.processes_seen,
        acknowledged_ms=report.acknowledged_ms,
        terminated_ms=report.terminated_ms,
        killed_ms=report.killed_ms,
        gone_ms=report.gone_ms,
    )


def ended_by_backstop(error: JobError, proof: Proof, *, processes_seen: int, killed_s: float | None) -> Ended:
    """Return an end that the supervisor brought about. `killed_s` is the time since the cause, None without one."""
    killed_ms = None if killed_s is None else round(killed_s * 1000, 1)
    return Ended(proof=proof, error=error, processes_seen=processes_seen, killed_ms=killed_ms, gone_ms=killed_ms)


def explain_status(status: int | None) -> JobError:
    """Return the error of a runner that ended with this status and without a report."""
    if status is None:
        return JobError("guardian", "the job's process ended unseen")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"
        return JobError("signalled", f"the job's process was ended by {name}", signal=name)
    code = os.waitstatus_to_exitcode(status)
    return JobError("exited", f"the job's process ended with exit code {code} and no result", exit_code=code)


def explain_limit(reached: LimitReached) -> JobError:
    """Return the error that names the limit which ended the job, and the job's use of it."""
    match reached.kind:
        case "memory":
            field, what, refusal = "memory_bytes", "bytes of memory", "it needed more"
        case "processes":
            field, what, refusal = "processes", "processes", "it tried to start more"
    seen = refusal if reached.seen is None else f"it had {reached.seen}"
    return JobError(reached.kind, f"the job may have {reached.limit} {what} (limits.{field}), and {seen}; it was ended")
