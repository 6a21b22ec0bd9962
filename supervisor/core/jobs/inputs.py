"""The inputs and effects of a job's state machine. An engine's reports that change the job are inputs as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from supervisor.core.jobs.model import Cause, Json, Stuck
from supervisor.engine.report import (
    Acknowledged,
    Began,
    Ended,
    JobError,
    PhaseReport,
    ResourceReport,
    Signalled,
    Unproven,
)

# --- inputs


@dataclass(frozen=True, slots=True)
class CancelRequested:
    cause: Cause
    budget_s: float


@dataclass(frozen=True, slots=True)
class Bound:
    """The job's order was passed to an engine."""


@dataclass(frozen=True, slots=True)
class StuckChanged:
    """The job counts as stuck, or no longer does. `fields` are those of the event. None means that no event is due."""

    stuck: Stuck | None
    fields: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """The runner has reported the task's result or error."""

    result: Json = None
    error: JobError | None = None


@dataclass(frozen=True, slots=True)
class StartRefused:
    """The attempt could not be started."""

    error: JobError


@dataclass(frozen=True, slots=True)
class ServerDied:
    """The server that ran the attempt has died. `error` describes what is known about the processes; `gone_at` is the
    time of their end, None if it is not known."""

    error: JobError
    gone_at: datetime | None = None


Input = (
    CancelRequested
    | Bound
    | Began
    | Reported
    | PhaseReport
    | ResourceReport
    | StuckChanged
    | Acknowledged
    | Signalled
    | Unproven
    | Ended
    | StartRefused
    | ServerDied
)


# --- effects


@dataclass(frozen=True, slots=True)
class Emit:
    """Append an event of this type to the job's log."""

    type: str
    fields: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class StopAttempt:
    """Start the attempt's ladder, or bring its steps forward."""

    cause: Cause
    budget_s: float


@dataclass(frozen=True, slots=True)
class StartTimeout:
    seconds: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The job has reached its terminal state: close the log, free the slot, and notify waiting clients."""


Effect = Emit | StopAttempt | StartTimeout | Finish
