"""The messages between supervisor and guardian: one JSON object a line, as all others.

supervisor → guardian   Limit, Mark, Stop guardian → supervisor   Hello or Refused, Acknowledged, Signalled, Ended
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

# --- supervisor → guardian


@dataclass(frozen=True, slots=True)
class Stop:
    """Run the ladder. `t0` is on CLOCK_MONOTONIC (seconds), which all processes of a machine share.

    `after_result` means that the task has reported its result and cannot be asked any more.
    """

    t0: float
    budget_s: float
    force: bool = False
    vanished: bool = False
    after_result: bool = False
    type: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class Limit:
    """Enforce these limits. `controllers` are those that the cgroup has; the other limits are measured."""

    memory_bytes: int | None = None
    processes: int | None = None
    cpus: float | None = None
    controllers: list[str] = field(default_factory=list)
    type: Literal["limit"] = "limit"


@dataclass(frozen=True, slots=True)
class Mark:
    """The environment variables that identify a process of the job, for a level that has to search. Sent before the job
    starts.
    """

    variables: dict[str, str]
    type: Literal["mark"] = "mark"


# --- guardian → supervisor


@dataclass(frozen=True, slots=True)
class Hello:
    """The guardian is set up for its level, and its runner is forked.

    `init_pid` is that of the job's pid namespace, if it has one.
    """

    guardian_pid: int
    runner_pid: int
    init_pid: int | None = None
    type: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class Refused:
    """The guardian cannot contain a job as planned, and ends. Nothing of a job was started."""

    reason: str
    type: Literal["refused"] = "refused"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The runner has seen the ask, `ms` after detection."""

    ms: float
    type: Literal["acknowledged"] = "acknowledged"


@dataclass(frozen=True, slots=True)
class Signalled:
    """The first round of a step: the processes, and the signal that they got."""

    signal: Literal["SIGTERM", "SIGKILL"]
    pids: list[int]
    ms: float
    type: Literal["signalled"] = "signalled"


@dataclass(frozen=True, slots=True)
class LimitReached:
    """The job was ended because of a limit. `seen` is the measured value; None if the kernel enforced the limit."""

    kind: Literal["memory", "processes"]
    limit: int
    seen: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing of the job is left: waitpid(-1) returned ECHILD, and the cgroup, if there is one, is empty.

    At level pgroup it means ECHILD, and a process table without any process that is known to be the job's.

    `runner_status` is the runner's wait status as waitpid(2) returns it. Milliseconds count from the detection of the
    cause; they are None if there was no cause or the step was not needed. `leftovers` counts the processes that a
    finished task had left behind.
    """

    runner_status: int | None
    leftovers: int
    processes_seen: int
    acknowledged_ms: float | None
    terminated_ms: float | None
    killed_ms: float | None
    gone_ms: float | None
    proof: Literal["echild", "cgroup_empty", "pidns_gone", "process_table"] = "echild"
    limit: LimitReached | None = None
    type: Literal["ended"] = "ended"


ToGuardian = Annotated[Limit | Mark | Stop, Field(discriminator="type")]
FromGuardian = Annotated[Hello | Refused | Acknowledged | Signalled | Ended, Field(discriminator="type")]

TO_GUARDIAN: TypeAdapter[ToGuardian] = TypeAdapter(ToGuardian)
FROM_GUARDIAN: TypeAdapter[FromGuardian] = TypeAdapter(FromGuardian)
