"""The core's data model: a job, and why, how and with which proof it was stopped.

The state of a job (`State`), the reason for a stop (`Reason`) and its method (`Method`) are separate types. All values
are immutable; `machine.py` makes the next one from the last. Fields have the names that clients see, so that a fact has
one name from the guardian to the API.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from supervisor.core.jobs.trace import Trace
from supervisor.engine.containment import NO_LIMITS, Level, Limits, Proof, Survivor
from supervisor.engine.report import JobError, ResourceKind

Json = Any
"""A JSON value: dict, list, str, int, float, bool or None."""


class State(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL_STATES


TERMINAL_STATES = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.TIMED_OUT, State.LOST})


class Reason(StrEnum):
    """Why a job is stopped early."""

    API = "api"
    CLIENT_DISCONNECTED = "client_disconnected"
    TIMEOUT = "timeout"
    LEASE = "lease"
    SHUTDOWN = "shutdown"
    STUCK = "stuck"


class Method(StrEnum):
    """The last step of the ladder that was needed."""

    NEVER_STARTED = "never_started"
    COOPERATIVE = "cooperative"
    SIGTERM = "sigterm"
    SIGKILL = "sigkill"


class OnDisconnect(StrEnum):
    CANCEL = "cancel"
    CONTINUE = "continue"


class Rule(StrEnum):
    """Why a job counts as stuck; `stuck_rules.py` explains each rule."""

    NO_HEARTBEAT = "no_heartbeat"
    NO_EVENT = "no_event"
    STARTING_LATE = "starting_late"
    CANCELLING_LATE = "cancelling_late"
    SURVIVORS = "survivors"


class StuckAction(StrEnum):
    """The action for a stuck job. A job that is already being cancelled is only reported."""

    REPORT = "report"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Caller:
    """The token of a request, by name. Unless it `sees_all`, only jobs made with the same token exist for it."""

    token: str
    sees_all: bool = False

    def sees(self, token: str) -> bool:
        """Return whether the caller may see a job that was made with the token of this name."""
        return self.sees_all or token == self.token


SERVER = Caller("", sees_all=True)
"""The server itself, acting without a request."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One detected reason to stop.

    `detected` is in monotonic seconds, and the ladder's t0. If `budget_s` is None the server's default applies.
    `vanished` means that the peer disappeared without a FIN, which was noticed late: the ladder then starts at
    *terminate*.
    """

    reason: Reason
    detected: float
    requested_at: datetime
    detail: str | None = None
    force: bool = False
    budget_s: float | None = None
    vanished: bool = False


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The record of one stop. Milliseconds count from detection; None means that the step has not happened."""

    reason: Reason
    detail: str | None
    requested_at: datetime
    force: bool
    budget_s: float
    acknowledged_ms: float | None = None
    terminated_ms: float | None = None
    killed_ms: float | None = None
    gone_ms: float | None = None
    method: Method | None = None
    proof: Proof = Proof.NONE
    processes_seen: int = 0
    survivors: tuple[Survivor, ...] = ()
    workspace_removed: bool = False
    within_budget: bool | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that a job holds or held: `kind` is terminal, browser, file, directory or process.

    `released_at` is when the job released it; `removed_at` is when the server removed it after the job's end instead.
    """

    kind: ResourceKind
    name: str
    acquired_at: datetime
    released_at: datetime | None = None
    removed_at: datetime | None = None

    @property
    def held(self) -> bool:
        return self.released_at is None and self.removed_at is None

    @property
    def action(self) -> str:
        """The last action on it, as named in events."""
        if self.released_at is not None:
            return "released"
        return "acquired" if self.removed_at is None else "removed"


@dataclass(frozen=True, slots=True)
class Stuck:
    """A finding that a job is stuck, for people. `stack` was taken when the rule fired."""

    rule: Rule
    words: str
    since: datetime
    stack: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A client's request, checked against the API's schema but not yet against the task's."""

    task: str
    input: dict[str, Json]
    id: str | None = None
    timeout_s: float | None = None
    on_disconnect: OnDisconnect = OnDisconnect.CANCEL
    labels: dict[str, str] = field(default_factory=dict)
    containment: str | None = None
    limits: Limits = NO_LIMITS
    reconnect_grace_s: float = 0.0
    lease_s: float | None = None
    keep_files: bool = False
    """Whether the content of `out/` is published even if the job does not succeed."""
    idempotency_key: str | None = None
    trace: Trace | None = None
    stuck_after_s: float | None = None
    """None means the server's setting, for the next two fields as well. 0 seconds means off."""
    stuck_no_event_s: float | None = None
    stuck_action: StuckAction | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A snapshot of one job.

    `containment` is its level and `controllers` are those of its cgroup. `phase` is the task's activity, None before
    it runs.
    """

    id: str
    request: JobRequest
    created_at: datetime
    containment: Level
    controllers: frozenset[str] = frozenset()
    state: State = State.QUEUED
    phase: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: Json = None
    error: JobError | None = None
    cancellation: Cancellation | None = None
    leftovers: int = 0
    resources: tuple[Resource, ...] = ()
