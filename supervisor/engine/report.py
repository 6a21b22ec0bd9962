"""Reports of an attempt, from its start to its proof.

A job can write to the channel that carries reports, so they are only claims of the job. The exceptions are
`Acknowledged`, `Signalled`, `Unproven` and `Ended`, which come from the engine itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from supervisor.engine.containment import Proof, Survivor

ResourceKind = Literal["terminal", "browser", "file", "directory", "process"]


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, or what is known about a lost one. `kind` is one of raised, exited, signalled, memory,
    processes, load, protocol, guardian, store, lost. `proof` is that of a lost job's end, where there is one."""

    kind: str
    message: str
    exit_code: int | None = None
    signal: str | None = None
    traceback: str | None = None
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The runner itself responds, whatever its task does."""


@dataclass(frozen=True, slots=True)
class Began:
    """The task is about to be called. `fields` describe the process that runs it, for people."""

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
    """Each of the `pieces` is small enough for one event."""

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
    """The task's result or error. `by_stop_signal` means that its command was ended by a signal that requests a stop;
    a service manager may have sent it to every process of the server at once."""

    result: Any = None
    error: JobError | None = None
    by_stop_signal: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The runner has seen the request to stop, `ms` after detection."""

    ms: float


@dataclass(frozen=True, slots=True)
class Signalled:
    """A step of the ladder sent its first signals. `fields` name the processes, for people."""

    signal: str
    fields: Mapping[str, Any]
    ms: float


@dataclass(frozen=True, slots=True)
class Unproven:
    """These processes are left after the verdict. The sweep continues."""

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
    """No process of the attempt is left, and `proof` says how that is known. Milliseconds count from detection.

    `error` explains the end of a job that reported nothing and was not stopped. `limit` is set if the job had reached a
    limit, and explains a failure that follows from it. `problems` name files that could not be kept or removed, for
    the job's log. `workspace` is the name that was reported for the workspace, "" if none was.
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
    """Knowledge about a job whose engine died. `gone_at` is wall time in seconds, None if it is not known."""

    words: str
    gone_at: float | None = None
    proof: str | None = None


UNRECORDED = Loss("nothing is known of its processes: they were not written down, or there were none yet")
