"""How the core's records look inside events. The API's schemas give the same objects the same names."""

from __future__ import annotations

from supervisor.containment.handle import Survivor
from supervisor.core.model import Cancellation, JobError, Json


def cancellation_fields(record: Cancellation) -> dict[str, Json]:
    """A cancellation as JSON."""
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


def error_fields(error: JobError) -> dict[str, Json]:
    """A job's error as JSON."""
    return {
        "kind": error.kind,
        "message": error.message,
        "exit_code": error.exit_code,
        "signal": error.signal,
        "traceback": error.traceback,
        "proof": None if error.proof is None else str(error.proof),
    }


def survivor_fields(survivor: Survivor) -> dict[str, Json]:
    return {"pid": survivor.pid, "name": survivor.name, "status": survivor.status}
