"""The frames between supervisor and runner: one JSON object a line, never pickle.

A job's frames come from code that nobody vouches for, so they are parsed against these types and refused when
they do not fit; parsing can build nothing but the dataclasses below.

    supervisor → runner     RunTask, Describe, StdinChunk, CancelRequest
    runner → supervisor     Running, Heartbeat, PhaseChange, Progress, Output, Log, ResourceChange, InputTaken,
                            InputClosed, Result, Failure, Described
    runner → guardian       AskSeen, StopCommand
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import to_json

Json = Any
Frame = TypeVar("Frame")

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""Longest line either side accepts. A request body is at most 1 MiB, and JSON may escape it to thrice that."""
MAX_EVENT_BYTES = 32 * 1024
"""Longest event a client gets; longer output is split before it is sent."""
MAX_RESULT_BYTES = 1024 * 1024
MAX_MESSAGE = 2000
"""Characters of an error's message."""
INPUT_FRAME_COST = 64

ErrorKind = Literal["raised", "exited", "signalled", "memory", "processes", "load", "protocol", "store"]
Phase = Literal["startup", "tool", "llm", "cleanup"]
ResourceKind = Literal["terminal", "browser", "file", "directory", "process"]


class ProtocolError(Exception):
    """A line is no frame of the expected direction. Met by whoever reads it; the peer is at fault."""


# --- supervisor → runner


@dataclass(frozen=True, slots=True)
class User:
    """Whom a job runs as, when that is not the server's own user."""

    name: str
    uid: int
    gid: int
    groups: list[int]


@dataclass(frozen=True, slots=True)
class RunTask:
    """One job: which function, with what, where. `environment` is what the job gets of the server's own.

    `short_path` is another path of the workspace, if it needs one: HOME, TMPDIR and XDG_RUNTIME_DIR are below it,
    because programs make sockets in them.

    `options` are the server's settings for this task. `secrets` are for the task alone: this is the only way they go,
    and nothing that the job starts, says or reports has them.
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
    """Import a module, say what tasks it has, then wait to be stopped."""

    module: str
    environment: dict[str, str]
    user: User | None = None
    type: Literal["describe"] = "describe"


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Stop, please. The same as setting the Event, for when the Event is wedged."""

    type: Literal["ask"] = "ask"


@dataclass(frozen=True, slots=True)
class StdinChunk:
    """Typed by a client into a job with an open input: text, then the end of the input if `eof`; a terminal's size."""

    text: str = ""
    eof: bool = False
    rows: int | None = None
    columns: int | None = None
    type: Literal["input"] = "input"


def input_cost(text: str) -> int:
    """What one Input counts for against the bound on what was not taken yet, in bytes; an empty one is not free."""
    return INPUT_FRAME_COST + len(text.encode("utf-8", "replace"))


# --- runner → supervisor


@dataclass(frozen=True, slots=True)
class Running:
    type: Literal["running"] = "running"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The runner's interpreter runs Python code."""

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
    """Something in the job has read Inputs of this cost: there is room for as much again."""

    cost: Annotated[int, Field(ge=0)]
    type: Literal["input_taken"] = "input_taken"


@dataclass(frozen=True, slots=True)
class InputClosed:
    """Nobody in the job will read Input any more."""

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
    """`origin` is where its function was written: a module may have imported it from another one."""

    name: str
    description: str
    input_schema: dict[str, Json]
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """What a module offers, or in `error` and `traceback` why it could not be imported."""

    module: str
    tasks: list[DescribedTask]
    error: str | None = None
    traceback: str | None = None
    type: Literal["described"] = "described"


# --- runner → guardian


@dataclass(frozen=True, slots=True)
class AskSeen:
    """The runner knows that the job is to stop."""

    type: Literal["ask_seen"] = "ask_seen"


@dataclass(frozen=True, slots=True)
class StopCommand:
    """A command of the job is to get the stop signal now. `pid` is its number in the runner's pid namespace."""

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

TO_RUNNER: TypeAdapter[ToRunner] = TypeAdapter(ToRunner)
FROM_RUNNER: TypeAdapter[FromRunner] = TypeAdapter(FromRunner)
RUNNER_TO_GUARDIAN: TypeAdapter[RunnerToGuardian] = TypeAdapter(RunnerToGuardian)


def encode(frame: object) -> bytes:
    """One line with its newline. Raises ProtocolError when a value is no JSON or the line is too long."""
    try:
        line = to_json(frame, inf_nan_mode="null") + b"\n"
    except ValueError as exc:
        raise ProtocolError(f"cannot encode {type(frame).__name__}: {exc}") from exc
    if len(line) > MAX_FRAME_BYTES:
        raise ProtocolError(f"cannot send {type(frame).__name__}: {len(line)} bytes, limit {MAX_FRAME_BYTES}")
    return line


def decode(adapter: TypeAdapter[Frame], line: bytes) -> Frame:
    """Parse one line. Raises ProtocolError naming what does not fit."""
    try:
        return adapter.validate_json(line)
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ProtocolError(f"cannot read frame: {where}: {problem['msg']}") from None
