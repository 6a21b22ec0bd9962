"""The JSON of answers: typed dictionaries in which every field is present, and `null` without a value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic describes only this one before Python 3.12

from supervisor.api.schemas.contents import ResourceJson, resource_json
from supervisor.api.schemas.encoding import moment, timestamp
from supervisor.core.jobs.json import CancellationJson, ErrorJson, cancellation_fields, error_fields
from supervisor.core.jobs.model import State, Stuck
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.running.pending_cancels import EARLY_CANCEL_KEPT_S
from supervisor.core.tasks.catalog import TaskDescription
from supervisor.engine.containment import NO_LIMITS, ContainmentStatus, Enforcer, Limits, enforcement
from supervisor.engine.inspection import Check


class StuckJson(TypedDict):
    """Why an unfinished job counts as stuck, and when it last showed a sign of life."""

    rule: str
    words: str
    since: str


class EnforcedByJson(TypedDict):
    """`cgroup`: the kernel; `sampled`: the job's guardian, several times a second; `none`: nothing, on this machine."""

    memory_bytes: Enforcer | None
    processes: Enforcer | None
    cpus: Enforcer | None


class LimitsJson(TypedDict):
    """The requested limits, and what enforces them; null where there is no limit."""

    memory_bytes: int | None
    processes: int | None
    cpus: float | None
    enforced_by: EnforcedByJson


class JobJson(TypedDict):
    """A job as it is now."""

    id: str
    task: str
    input: dict[str, Any]
    state: str
    phase: str | None
    labels: dict[str, str]
    created_at: str
    started_at: str | None
    finished_at: str | None
    timeout_s: float | None
    on_disconnect: str
    result: Any
    error: ErrorJson | None
    cancellation: CancellationJson | None
    leftovers: int
    resources: list[ResourceJson]
    limits: LimitsJson | None
    containment: str
    last_event_id: int
    stuck: StuckJson | None


class UnknownJobJson(TypedDict):
    """A cancel that came before its job. It is kept for that time."""

    id: str
    state: Literal["unknown"]
    kept_for_s: int


class JobsJson(TypedDict):
    jobs: list[JobJson]
    next_cursor: str | None


class EventsJson(TypedDict):
    """Each event is `{id, job_id, type, at, …}`, or a `stream.gap {from, to}` for what is no longer kept.

    Some 8 MiB at most: there may be more behind `last_event_id`.
    """

    events: list[dict[str, Any]]
    last_event_id: int


class TaskJson(TypedDict):
    name: str
    description: str
    input_schema: dict[str, Any]


class TasksJson(TypedDict):
    tasks: list[TaskJson]


class CheckJson(TypedDict):
    ok: bool
    detail: str
    numbers: dict[str, float]


class HealthCheckJson(CheckJson):
    """`tracebacks`: by task module, where its import failed. Not in /readyz, which needs no token."""

    tracebacks: dict[str, str]


class ReadinessJson(TypedDict, total=False):
    """`checks` is there with `?verbose`."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, CheckJson]


class ContainmentJson(TypedDict):
    """How jobs are contained, what that covers, and why stronger levels are not used."""

    level: str
    covers: list[str]
    not_covered: list[str]
    why_not: dict[str, str]


class HealthJson(TypedDict):
    status: Literal["ok", "degraded", "down"]
    version: str
    containment: ContainmentJson
    checks: dict[str, HealthCheckJson]
    counts: dict[str, int]


class FieldErrorJson(TypedDict):
    field: str
    message: str


class ProblemJson(TypedDict, total=False):
    """RFC 9457. `errors` comes with status 422."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldErrorJson]


def job_json(record: LiveJob) -> JobJson:
    job, request = record.job, record.job.request
    return {
        "id": job.id,
        "task": request.task,
        "input": request.input,
        "state": job.state,
        "phase": job.phase,
        "labels": request.labels,
        "created_at": timestamp(job.created_at),
        "started_at": moment(job.started_at),
        "finished_at": moment(job.finished_at),
        "timeout_s": request.timeout_s,
        "on_disconnect": request.on_disconnect,
        "result": job.result,
        "error": None if job.error is None else error_fields(job.error),
        "cancellation": None if job.cancellation is None else cancellation_fields(job.cancellation),
        "leftovers": job.leftovers,
        "resources": [resource_json(resource) for resource in job.resources],
        "limits": _limits_json(request.limits, job.controllers),
        "containment": job.containment,
        "last_event_id": record.log.last_id,
        "stuck": None if record.stuck is None else stuck_json(record.stuck),
    }


def _limits_json(limits: Limits, controllers: frozenset[str]) -> LimitsJson | None:
    if limits == NO_LIMITS:
        return None
    by = enforcement(limits, controllers)
    return {
        "memory_bytes": limits.memory_bytes,
        "processes": limits.processes,
        "cpus": limits.cpus,
        "enforced_by": {"memory_bytes": by.memory_bytes, "processes": by.processes, "cpus": by.cpus},
    }


def stuck_json(stuck: Stuck) -> StuckJson:
    return {"rule": stuck.rule, "words": stuck.words, "since": timestamp(stuck.since)}


def unknown_job_json(job_id: str) -> UnknownJobJson:
    return {"id": job_id, "state": "unknown", "kept_for_s": round(EARLY_CANCEL_KEPT_S)}


def tasks_json(tasks: Iterable[TaskDescription]) -> TasksJson:
    return {
        "tasks": [
            {"name": task.name, "description": task.description, "input_schema": task.input_schema} for task in tasks
        ]
    }


def checks_json(checks: dict[str, Check]) -> dict[str, CheckJson]:
    return {name: {"ok": check.ok, "detail": check.detail, "numbers": check.numbers} for name, check in checks.items()}


def readiness_json(*, ready: bool, checks: dict[str, Check] | None) -> ReadinessJson:
    answer: ReadinessJson = {"status": "ok" if ready else "unavailable"}
    if checks is not None:
        answer["checks"] = checks_json(checks)
    return answer


def health_json(
    version: str, containment: ContainmentStatus, checks: dict[str, Check], counts: dict[State, int]
) -> HealthJson:
    """Return the health. `down`: accepts no jobs. `degraded`: accepts jobs, but a check fails."""
    broken = [check for check in checks.values() if not check.ok]
    return {
        "status": "down" if any(check.required for check in broken) else "degraded" if broken else "ok",
        "version": version,
        "containment": {
            "level": containment.level,
            "covers": list(containment.covers),
            "not_covered": list(containment.not_covered),
            "why_not": {str(level): reason for level, reason in containment.why_not.items()},
        },
        "checks": {
            name: {**check, "tracebacks": checks[name].tracebacks} for name, check in checks_json(checks).items()
        },
        "counts": {state.value: count for state, count in counts.items()},
    }
