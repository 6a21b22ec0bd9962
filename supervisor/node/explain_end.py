"""What to tell a client about an end that the task did not report itself."""

from __future__ import annotations

import os
import signal

from supervisor.engine.report import JobError
from supervisor.guardian.protocol import LimitReached


def explain_status(status: int | None) -> JobError:
    """What a runner's end means that came without a report."""
    if status is None:
        return JobError("guardian", "the job's process ended unseen")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"
        return JobError("signalled", f"the job's process was ended by {name}", signal=name)
    code = os.waitstatus_to_exitcode(status)
    return JobError("exited", f"the job's process ended with exit code {code} and no result", exit_code=code)


def explain_limit(reached: LimitReached) -> JobError:
    """Which limit ended the job, and what was seen of it."""
    match reached.kind:
        case "memory":
            field, what, refusal = "memory_bytes", "bytes of memory", "it needed more"
        case "processes":
            field, what, refusal = "processes", "processes", "it tried to start more"
    seen = refusal if reached.seen is None else f"it had {reached.seen}"
    return JobError(reached.kind, f"the job may have {reached.limit} {what} (limits.{field}), and {seen}; it was ended")
