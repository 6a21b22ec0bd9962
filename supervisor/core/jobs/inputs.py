"""What can happen to a job, and what is then to be done: the machine's whole vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from supervisor.core.jobs.model import Cause, Json, Stuck
from supervisor.engine.containment import Proof, Survivor
from supervisor.engine.report import JobError

# --- what can happen


@dataclass(frozen=True, slots=True)
class CancelRequested:
    cause: Cause
    budget_s: float


@dataclass(frozen=True, slots=True)
class Bound:
    """The job's order was given to an engine."""


@dataclass(frozen=True, slots=True)
class Began:
    """The runner is about to call the task. `fields` are for people."""

    fields: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """The task does something else now."""

    phase: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ResourceChanged:
    """The job holds something, or holds it no longer. `action` is acquired, released or removed."""

    action: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class StuckChanged:
    """The job counts as stuck, or no longer does. `fields` are those of the event; None: there is none this time."""

    stuck: Stuck | None
    fields: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """What the runner said came of it: a result, or an error."""

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
    """Nothing of the attempt is left, and `proof` says how we know. Milliseconds as in Cancellation.

    `error` is what to say when nothing was reported and nobody had asked to stop; `limit`, when the job had reached a
    limit: that explains any failure that came of it.
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
    """The attempt could not be started at all."""

    error: JobError


@dataclass(frozen=True, slots=True)
class ServerDied:
    """The server that ran the attempt is no more. `error` says what is known of its processes, `gone_at` since when
    they are gone; None: that is not known."""

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


# --- what to do


@dataclass(frozen=True, slots=True)
class Emit:
    """Write an event of this type into the job's log."""

    type: str
    fields: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class StopAttempt:
    """Start or raise the attempt's ladder."""

    cause: Cause
    budget_s: float


@dataclass(frozen=True, slots=True)
class StartTimeout:
    seconds: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The terminal state was written: close the log, free the slot, tell who waits."""


Effect = Emit | StopAttempt | StartTimeout | Finish
