"""The JSON of a cancellation and of an error, which is the same in events and in the API's answers."""

from __future__ import annotations

from typing_extensions import TypedDict  # pydantic describes only this one before Python 3.12

from supervisor.core.jobs.model import Cancellation
from supervisor.engine.containment import Survivor
from supervisor.engine.report import JobError


class SurvivorJson(TypedDict):
    pid: int
    name: str
    status: str


class CancellationJson(TypedDict):
    """The record of a stop. Milliseconds count from the detection of the cause."""

    reason: str
    detail: str | None
    requested_at: str
    force: bool
    budget_s: float
    acknowledged_ms: float | None
    terminated_ms: float | None
    killed_ms: float | None
    gone_ms: float | None
    method: str | None
    proof: str
    processes_seen: int
    survivors: list[SurvivorJson]
    workspace_removed: bool
    within_budget: bool | None


class ErrorJson(TypedDict):
    kind: str
    message: str
    exit_code: int | None
    signal: str | None
    traceback: str | None
    proof: str | None


def cancellation_fields(record: Cancellation) -> CancellationJson:
    return {
        "reason": str(record.reason),
        "detail": record.detail,
        "requested_at": record.requested_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "force": record.force,
        "budget_s": record.budget_s,
        "acknowledged_ms": record.acknowledged_ms,
        "terminated_ms": record.terminated_ms,
        "killed_ms": record.killed_ms,
        "gone_ms": record.gone_ms,
        "method": None if record.method is None else str(record.method),
        "proof": str(record.proof),
        "processes_seen": record.processes_seen,
        "survivors": [survivor_fields(survivor) for survivor in record.survivors],
        "workspace_removed": record.workspace_removed,
        "within_budget": record.within_budget,
    }


def error_fields(error: JobError) -> ErrorJson:
    return {
        "kind": error.kind,
        "message": error.message,
        "exit_code": error.exit_code,
        "signal": error.signal,
        "traceback": error.traceback,
        "proof": None if error.proof is None else str(error.proof),
    }


def survivor_fields(survivor: Survivor) -> SurvivorJson:
    return {"pid": survivor.pid, "name": survivor.name, "status": survivor.status}
