"""The messages between supervisor and runner: one JSON object a line, never pickle.

A job's messages come from code that is not trusted. So they are parsed against these types and rejected if they do not
match; parsing creates nothing but the dataclasses below.

    supervisor → runner     RunTask, Describe, StdinChunk, CancelRequest
    runner → supervisor     Running, Heartbeat, PhaseChange, Progress, Output, Log, ResourceChange, InputTaken,
                            InputClosed, Result, Failure, Described
    runner → guardian       AskSeen, StopCommand
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

Json = Any

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""The longest line that either side accepts: JSON may escape a request body of 1 MiB to thrice that."""
MAX_EVENT_BYTES = 32 * 1024
"""The longest event that a client gets. Longer output is split before it is sent."""
MAX_RESULT_BYTES = 1024 * 1024
MAX_MESSAGE = 2000
"""The longest message of an error, in characters."""
INPUT_FRAME_COST = 64

ErrorKind = Literal["raised", "exited", "signalled", "memory", "processes", "load", "protocol", "store"]
Phase = Literal["startup", "tool", "llm", "cleanup"]
ResourceKind = Literal["terminal", "browser", "file", "directory", "process"]


# --- supervisor → runner


@dataclass(frozen=True, slots=True)
class User:
    """The user that a job runs as, if that is not the server's own user."""

    name: str
    uid: int
    gid: int
    groups: list[int]


@dataclass(frozen=True, slots=True)
class RunTask:
    """The order for one job. `environment` is the part of the server's environment that the job gets.

    `short_path` is another path of the workspace for HOME, TMPDIR and XDG_RUNTIME_DIR, because programs create sockets
    there. `options` are the server's settings for this task. `secrets` are for the task alone: they are sent only here,
    and nothing that the job starts, prints or reports contains them.
    """

    job_id: str
    module: str
    task: str
    input: dict[str, Json]
    workspace: str
    environment: dict[str, str]
    options: dict[str, Json] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    user: User | None = None
    short_path: str | None = None
    type: Literal["work"] = "work"


@dataclass(frozen=True, slots=True)
class Describe:
    """The order to import a module and report its tasks, then to wait for the stop."""

    module: str
    environment: dict[str, str]
    user: User | None = None
    type: Literal["describe"] = "describe"


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """The request to stop. It means the same as the shared Event, and replaces it if the Event hangs."""

    type: Literal["ask"] = "ask"


@dataclass(frozen=True, slots=True)
class StdinChunk:
    """Input that a client has typed: `text`, then the end of the input if `eof`, or a new size of the terminal."""

    text: str = ""
    eof: bool = False
    rows: int | None = None
    columns: int | None = None
    type: Literal["input"] = "input"


def input_cost(text: str) -> int:
    """Return the bytes that an input counts for in the limit on pending input. An empty input is not free."""
    return INPUT_FRAME_COST + len(text.encode("utf-8", "replace"))


# --- runner → supervisor


@dataclass(frozen=True, slots=True)
class Running:
    type: Literal["running"] = "running"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    type: Literal["heartbeat"] = "heartbeat"


@dataclass(frozen=True, slots=True)
class PhaseChange:
    phase: Phase
    detail: str | None = None
    type: Literal["phase"] = "phase"


@dataclass(frozen=True, slots=True)
class Progress:
    done: float
    total: float | None = None
    message: str | None = None
    type: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class Output:
    stream: Literal["stdout", "stderr", "terminal"]
    text: str
    type: Literal["output"] = "output"


@dataclass(frozen=True, slots=True)
class Log:
    level: Literal["debug", "info", "warning", "error"]
    message: str
    fields: dict[str, Json] = field(default_factory=dict)
    type: Literal["log"] = "log"


@dataclass(frozen=True, slots=True)
class ResourceChange:
    action: Literal["acquired", "released", "removed"]
    kind: ResourceKind
    name: str
    type: Literal["resource"] = "resource"


@dataclass(frozen=True, slots=True)
class InputTaken:
    """The job has read inputs of this cost: there is room for as much again."""

    cost: Annotated[int, Field(ge=0)]
    type: Literal["input_taken"] = "input_taken"


@dataclass(frozen=True, slots=True)
class InputClosed:
    type: Literal["input_closed"] = "input_closed"


@dataclass(frozen=True, slots=True)
class Result:
    result: Json
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class Failure:
    kind: ErrorKind
    message: str
    exit_code: int | None = None
    signal: str | None = None
    traceback: str | None = None
    type: Literal["failure"] = "failure"


@dataclass(frozen=True, slots=True)
class DescribedTask:
    """`origin` is the place where the function was defined, because a module may import it from another one."""

    name: str
    description: str
    input_schema: dict[str, Json]
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """The tasks of a module, or in `error` and `traceback` the reason why it could not be imported."""

    module: str
    tasks: list[DescribedTask]
    error: str | None = None
    traceback: str | None = None
    type: Literal["described"] = "described"


# --- runner → guardian


@dataclass(frozen=True, slots=True)
class AskSeen:
    """The runner has seen the request to stop."""

    type: Literal["ask_seen"] = "ask_seen"


@dataclass(frozen=True, slots=True)
class StopCommand:
    """The request to send the stop signal to a command of the job. `pid` is its number in the runner's pid
    namespace.
    """

    pid: int
    type: Literal["stop_command"] = "stop_command"


ToRunner = Annotated[RunTask | Describe | StdinChunk | CancelRequest, Field(discriminator="type")]
FromRunner = Annotated[
    Running
    | Heartbeat
    | PhaseChange
    | Progress
    | Output
    | Log
    | ResourceChange
    | InputTaken
    | InputClosed
    | Result
    | Failure
    | Described,
    Field(discriminator="type"),
]
RunnerToGuardian = Annotated[AskSeen | StopCommand, Field(discriminator="type")]
