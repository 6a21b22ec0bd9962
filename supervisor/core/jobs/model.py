"""The nouns of the core: a job, why it is stopped, how, and with which proof.

Where a job is (`State`), why it is stopped (`Reason`) and how that was done (`Method`) are three types.
Everything here is immutable; `machine.py` makes the next value from the last one. Field names are those
that clients see, so that one name follows a fact from the guardian to the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from supervisor.core.jobs.trace import Trace
from supervisor.engine.containment import NO_LIMITS, Level, Limits, Proof, Survivor
from supervisor.engine.report import JobError

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
    """The strongest step of the ladder that the job needed."""

    NEVER_STARTED = "never_started"
    COOPERATIVE = "cooperative"
    SIGTERM = "sigterm"
    SIGKILL = "sigkill"


class OnDisconnect(StrEnum):
    CANCEL = "cancel"
    CONTINUE = "continue"


class Rule(StrEnum):
    """Why a job counts as stuck; `stuck.py` says what each means."""

    NO_HEARTBEAT = "no_heartbeat"
    NO_EVENT = "no_event"
    STARTING_LATE = "starting_late"
    CANCELLING_LATE = "cancelling_late"
    SURVIVORS = "survivors"


class StuckAction(StrEnum):
    """What is done about a job that hangs. One that is being cancelled already is only reported."""

    REPORT = "report"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, by the name of the token. Jobs made with other tokens do not exist for it, unless it `sees_all`."""

    token: str
    sees_all: bool = False

    def sees(self, token: str) -> bool:
        """Whether it may know of a job that was made with the token of this name."""
        return self.sees_all or token == self.token


SERVER = Caller("", sees_all=True)
"""The server itself, when nobody asked it."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason to stop, as it was detected.

    `detected` is on the monotonic clock (seconds) and is the ladder's t0. `budget_s` None means the server's
    default. `vanished` says that the peer disappeared without a FIN and was therefore noticed late: the ladder
    then starts at *terminate*.
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
    """The record of one stop. Milliseconds count from detection; None means "did not happen (yet)"."""

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
    """Something a job holds, or held: `kind` is terminal, browser, file, directory or process.

    `released_at`: the job let it go. `removed_at`: the job had not, and it was removed after it.
    """

    kind: str
    name: str
    acquired_at: datetime
    released_at: datetime | None = None
    removed_at: datetime | None = None

    @property
    def held(self) -> bool:
        return self.released_at is None and self.removed_at is None

    @property
    def action(self) -> str:
        """The last thing that was done with it, as events call it."""
        if self.released_at is not None:
            return "released"
        return "acquired" if self.removed_at is None else "removed"


@dataclass(frozen=True, slots=True)
class Stuck:
    """A finding as people read it. `stack` was taken when the rule fired."""

    rule: Rule
    words: str
    since: datetime
    stack: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a client asked for, already checked against the API's schema but not against the task's."""

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
    """Whether what is in `out/` is published also when the job does not succeed."""
    idempotency_key: str | None = None
    trace: Trace | None = None
    stuck_after_s: float | None = None
    stuck_no_event_s: float | None = None
    stuck_action: StuckAction | None = None
    """None: as the server has it. 0: off."""


@dataclass(frozen=True, slots=True)
class Job:
    """One request with an id, at one moment.

    `containment` is the level that it is held at, `controllers` are those of its cgroup; `phase` is what the task is
    doing, None before it runs.
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
