"""The inputs and effects of a job's state machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from supervisor.core.jobs.model import Cause, Json, Stuck
from supervisor.engine.containment import Proof, Survivor
from supervisor.engine.report import JobError

# --- inputs


@dataclass(frozen=True, slots=True)
class CancelRequested:
    cause: Cause
    budget_s: float


@dataclass(frozen=True, slots=True)
class Bound:
    """The job's order was passed to an engine."""


@dataclass(frozen=True, slots=True)
class Began:
    """The runner is about to call the task. `fields` describe its process, for people."""

    fields: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """The task has entered another phase."""

    phase: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ResourceChanged:
    """The job has acquired or released a resource, or it was removed. `action` is acquired, released or removed."""

    action: str
    kind: str
    name: str


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
class Acknowledged:
    ms: float


@dataclass(frozen=True, slots=True)
class Signalled:
    signal: str
    fields: Mapping[str, Json]
    ms: float


@dataclass(frozen=True, slots=True)
class Unproven:
    survivors: tuple[Survivor, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """No process of the attempt is left, and `proof` says how that is known. Milliseconds are as in Cancellation.

    `error` explains the end of a job that reported nothing and was not stopped. `limit` is set if the job had reached a
    limit, and explains a failure that follows from it.
    """

    proof: Proof
    error: JobError
    limit: JobError | None = None
    leftovers: int = 0
    processes_seen: int = 0
    acknowledged_ms: float | None = None
    terminated_ms: float | None = None
    killed_ms: float | None = None
    gone_ms: float | None = None
    workspace_removed: bool = False


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
    | PhaseChanged
    | ResourceChanged
    | StuckChanged
    | Acknowledged
    | Signalled
    | Unproven
    | Gone
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
