"""What an attempt says, from its start to its proof.

A job can write to the channel that these come from. So a report is a claim of the job's, but for `Acknowledged`,
`Signalled`, `Unproven` and `Ended`, which the engine itself vouches for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from supervisor.engine.containment import Proof, Survivor

ResourceKind = Literal["terminal", "browser", "file", "directory", "process"]


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, or what is known of one that was lost. `kind` is one of raised, exited, signalled, memory,
    processes, load, protocol, guardian, store, lost. `proof` is that of a lost job's end, where there is one."""

    kind: str
    message: str
    exit_code: int | None = None
    signal: str | None = None
    traceback: str | None = None
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The runner is well, whatever its task does."""


@dataclass(frozen=True, slots=True)
class Began:
    """The task is about to be called. `fields` are for people: the process that runs it."""

    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PhaseReport:
    phase: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ProgressReport:
    done: float
    total: float | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class OutputReport:
    """`pieces` are each small enough for one event."""

    stream: str
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogReport:
    level: str
    message: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ResourceReport:
    action: Literal["acquired", "released", "removed"]
    kind: ResourceKind
    name: str


@dataclass(frozen=True, slots=True)
class StdinTaken:
    """The task has read input of this cost, in bytes."""

    cost: int


@dataclass(frozen=True, slots=True)
class StdinClosed:
    """Nothing in the job reads its input any more."""


@dataclass(frozen=True, slots=True)
class TaskReported:
    """What the task came to. `by_stop_signal`: its command ended by a signal that asks for a stop, perhaps the server's
    own, sent to every process at once."""

    result: Any = None
    error: JobError | None = None
    by_stop_signal: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The runner has seen the ask, `ms` after detection."""

    ms: float


@dataclass(frozen=True, slots=True)
class Signalled:
    """The first round of a step of the ladder. `fields` are for people: which processes."""

    signal: str
    fields: Mapping[str, Any]
    ms: float


@dataclass(frozen=True, slots=True)
class Unproven:
    """Past the verdict these are still there. The sweep goes on."""

    survivors: tuple[Survivor, ...]


Report = (
    Heartbeat
    | Began
    | PhaseReport
    | ProgressReport
    | OutputReport
    | LogReport
    | ResourceReport
    | StdinTaken
    | StdinClosed
    | TaskReported
    | Acknowledged
    | Signalled
    | Unproven
)


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing of the attempt is left, and `proof` says how that is known. Milliseconds count from detection.

    `error` explains the end of a job that reported nothing and was not stopped; `limit`, when the job had reached a
    limit: that explains any failure that came of it. `problems` are for the job's log: what could not be kept or
    removed. `workspace` is the name under which its workspace was reported, "" if it never was.
    """

    proof: Proof
    error: JobError
    limit: JobError | None = None
    by_stop_signal: bool = False
    leftovers: int = 0
    processes_seen: int = 0
    acknowledged_ms: float | None = None
    terminated_ms: float | None = None
    killed_ms: float | None = None
    gone_ms: float | None = None
    workspace: str = ""
    workspace_removed: bool = False
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loss:
    """What is known of a job whose engine died. `gone_at` is wall time in seconds, None when that is not known."""

    words: str
    gone_at: float | None = None
    proof: str | None = None


UNRECORDED = Loss("nothing is known of its processes: they were not written down, or there were none yet")
