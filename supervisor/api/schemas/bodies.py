"""The JSON of requests: strict pydantic models, without coercion, which reject unknown fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from supervisor.config import CONTAINMENT_LEVELS
from supervisor.core.jobs.model import JobRequest, OnDisconnect, StuckAction
from supervisor.core.jobs.trace import Trace
from supervisor.engine.containment import NO_LIMITS, Limits
from supervisor.engine.order import StdinChunk
from supervisor.errors import MAX_ERRORS, FieldError, InvalidRequest

JOB_ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
LABEL_KEY_PATTERN = r"^[A-Za-z0-9_./-]{1,64}$"
MAX_LABELS = 32
MAX_LABEL_VALUE = 256
MAX_TASK_NAME = 200
MAX_REASON = 200
MIN_BUDGET_S = 0.2
MAX_RECONNECT_GRACE_S = 3600.0
MIN_LEASE_S = 0.1
MAX_LEASE_S = 86_400.0
MAX_INPUT_BYTES = 64 * 1024
MAX_FIELD_VALUES = 500
"""How many JSON values a field other than a job's `input` may have. None needs a tenth of them."""
MAX_TERMINAL_SIDE = 10_000
MAX_MEMORY_BYTES = 2**50
MAX_PROCESSES = 4_194_304  # the kernel's own, PID_MAX_LIMIT
MAX_CPUS = 10_000.0


def _known_level(level: str) -> str:
    # The core checks whether this server supports it.
    if level in CONTAINMENT_LEVELS:
        return level
    raise PydanticCustomError(
        "level", f"{level[:80]!r} is not a containment level; use one of {', '.join(CONTAINMENT_LEVELS)}"
    )


ContainmentLevel = Annotated[
    str, AfterValidator(_known_level), Field(json_schema_extra={"enum": list(CONTAINMENT_LEVELS)})
]
LabelKey = Annotated[str, Field(pattern=LABEL_KEY_PATTERN)]
LabelValue = Annotated[str, Field(max_length=MAX_LABEL_VALUE)]
Labels = Annotated[
    dict[LabelKey, LabelValue],
    # pydantic describes the pattern of the keys, but not that other keys are not allowed.
    Field(max_length=MAX_LABELS, json_schema_extra={"additionalProperties": False}),
]


class Body(BaseModel):
    """Base class of the bodies."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class LimitsBody(Body):
    """Limits of a job: resident memory and processes of its whole tree (including the runner), and time on this many
    cores."""

    memory_bytes: Annotated[int, Field(gt=0, le=MAX_MEMORY_BYTES)] | None = None
    processes: Annotated[int, Field(gt=0, le=MAX_PROCESSES)] | None = None
    cpus: Annotated[float, Field(gt=0, le=MAX_CPUS)] | None = None


class CreateBody(Body):
    """The task to run, and its options. `timeout_s` counts from `job.running`. With `lease_s` the job is cancelled when
    its lease has not been renewed for that time. The `stuck_…` fields override the server's settings; 0 is off."""

    task: Annotated[str, Field(min_length=1, max_length=MAX_TASK_NAME)]
    input: dict[str, Any]
    id: Annotated[str, Field(pattern=JOB_ID_PATTERN)] | None = None
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    on_disconnect: Literal["cancel", "continue"] | None = None
    labels: Labels | None = None
    limits: LimitsBody | None = None
    containment: ContainmentLevel | None = None
    keep_files: bool | None = None
    reconnect_grace_s: Annotated[float, Field(ge=0, le=MAX_RECONNECT_GRACE_S)] | None = None
    lease_s: Annotated[float, Field(ge=MIN_LEASE_S, le=MAX_LEASE_S)] | None = None
    stuck_after_s: Annotated[float, Field(ge=0)] | None = None
    stuck_no_event_s: Annotated[float, Field(ge=0)] | None = None
    stuck_action: Literal["report", "cancel"] | None = None

    def request(self, idempotency_key: str | None, trace: Trace) -> JobRequest:
        """Return the request for the core."""
        return JobRequest(
            task=self.task,
            input=self.input,
            id=self.id,
            timeout_s=self.timeout_s,
            on_disconnect=OnDisconnect(self.on_disconnect or OnDisconnect.CANCEL),
            labels=dict(self.labels or {}),
            containment=self.containment,
            limits=NO_LIMITS if self.limits is None else Limits(**self.limits.model_dump()),
            reconnect_grace_s=self.reconnect_grace_s or 0.0,
            lease_s=self.lease_s,
            keep_files=bool(self.keep_files),
            idempotency_key=idempotency_key,
            trace=trace,
            stuck_after_s=self.stuck_after_s,
            stuck_no_event_s=self.stuck_no_event_s,
            stuck_action=None if self.stuck_action is None else StuckAction(self.stuck_action),
        )


class CancelBody(Body):
    """How to stop. `budget_s` is at most the server's DEADSTOP_CANCEL_BUDGET_S."""

    reason: Annotated[str, Field(max_length=MAX_REASON)] | None = None
    force: bool | None = None
    budget_s: Annotated[float, Field(ge=MIN_BUDGET_S)] | None = None


def _fits_an_input(text: str) -> str:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_INPUT_BYTES:
        raise PydanticCustomError(
            "too_long", f"has {size} bytes, at most {MAX_INPUT_BYTES} go at once; send it in pieces"
        )
    return text


class SizeBody(Body):
    """A terminal's size in characters."""

    rows: Annotated[int, Field(ge=1, le=MAX_TERMINAL_SIDE)]
    columns: Annotated[int, Field(ge=1, le=MAX_TERMINAL_SIDE)]


class InputBody(Body):
    """Input for the job, at least one of these: `text` (Ctrl-C is \\u0003), then the end if `eof`.

    In a terminal `eof` is Ctrl-D, on pipes the end of stdin; nothing can be sent after it.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["text"], "properties": {"text": {"type": "string"}}},
                {"required": ["eof"], "properties": {"eof": {"const": True}}},
                {"required": ["size"], "properties": {"size": {"type": "object"}}},
            ]
        }
    )

    text: (
        Annotated[str, AfterValidator(_fits_an_input), Field(json_schema_extra={"maxLength": MAX_INPUT_BYTES})] | None
    ) = None
    eof: bool | None = None
    size: SizeBody | None = None

    def frame(self) -> StdinChunk:
        """Return the message for the job. Raise InvalidRequest if the body has nothing to send."""
        if self.text is None and not self.eof and self.size is None:
            raise InvalidRequest.at("text", "is required, unless there is `eof` (true) or `size`")
        rows, columns = (None, None) if self.size is None else (self.size.rows, self.size.columns)
        return StdinChunk(self.text or "", bool(self.eof), rows, columns)


class LeaseBody(Body):
    """Nothing: the lease starts again with the length that the job was created with."""


class SessionBody(Body):
    """The server's token, for a cookie."""

    token: Annotated[str, Field(min_length=1)]


BodyT = TypeVar("BodyT", bound=Body)


def validate(model: type[BodyT], value: dict[str, Any]) -> BodyT:
    """Return `value` as `model`. Raise InvalidRequest, which names the wrong fields, or the first of many."""
    unknown = [name for name in value if name not in model.model_fields]
    for name in unknown[MAX_ERRORS:]:
        del value[name]
    for name, part in value.items():
        if name != "input" and _is_larger(part, MAX_FIELD_VALUES):
            raise InvalidRequest.at(name[:80], f"holds more than {MAX_FIELD_VALUES} values")
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        found = list(_field_errors(exc.errors(include_url=False, include_input=False)))
        raise InvalidRequest(found, more=len(unknown[MAX_ERRORS:])) from None


def _is_larger(value: Any, max_values: int) -> bool:
    """Return whether there are more values than that. pydantic creates an error for each that is wrong."""
    waiting, seen = [value], 0
    while waiting and seen <= max_values:
        part = waiting.pop()
        seen += 1
        if isinstance(part, dict | list):
            if len(part) > max_values:
                return True
            waiting += part.values() if isinstance(part, dict) else part
    return seen > max_values


_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is unknown here",
    "string_type": "must be a string",
    "dict_type": "must be an object",
    "bool_type": "must be true or false",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
}
"""Messages for pydantic's most common errors. Its other messages are clear as they are."""


def _field_errors(errors: Iterable[ErrorDetails]) -> Iterator[FieldError]:
    for error in errors:
        # pydantic marks an entry with a wrong name with "[key]".
        field = ".".join(str(part)[:80] for part in error["loc"] if part != "[key]")
        yield FieldError(field, _MESSAGES.get(error["type"]) or error["msg"])
