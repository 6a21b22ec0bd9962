"""Health checks: conditions that the server needs to accept jobs, and others."""

from __future__ import annotations

from supervisor.core.journal.journal import Journal
from supervisor.core.journal.open import FILE
from supervisor.core.tasks.catalog import Catalog
from supervisor.core.telemetry.stuck_monitor import StuckMonitor
from supervisor.engine.inspection import Check, EngineStatus
from supervisor.faults import Faults


def checks_of(
    *,
    accepting: bool,
    engine: EngineStatus,
    journal: Journal,
    catalog: Catalog,
    stuck_monitor: StuckMonitor,
    faults: Faults,
) -> dict[str, Check]:
    """Return the present results of the checks, by name."""
    checks = dict(engine.checks)
    folders = checks.pop("folders", None)
    broken = "; ".join(f"{module}: {why}" for module, why in catalog.errors.items())
    pending = ", ".join(sorted(catalog.pending))
    stuck = stuck_monitor.stuck()
    return {
        "accepting": _open("takes jobs") if accepting else _open("shutting down", ok=False),
        "store": _store(folders, journal),
        **checks,
        "tasks": Check(
            not broken and not pending,
            broken or (f"describing {pending}" if pending else "described"),
            required=False,
            tracebacks=catalog.tracebacks,
            public=None if broken else "being described" if pending else "described",
        ),
        "internal": Check(not faults.current(), faults.words or "no part failed lately"),
        "stuck": Check(not stuck, stuck_monitor.detail, False, {"jobs": len(stuck)}, public=stuck_monitor.detail),
    }


def _open(detail: str, *, ok: bool = True) -> Check:
    """Return a check whose detail clients without a token may read."""
    return Check(ok, detail, public=detail)


def _store(folders: Check | None, journal: Journal) -> Check:
    if folders is not None and not folders.ok:
        return folders
    if journal.error:
        detail = f"DEADSTOP_STATE_DIR/{FILE} cannot be written: {journal.error}"
        return Check(False, detail, public="the journal cannot be written")
    aside = "" if journal.damaged is None else f"; the damaged journal was set aside as {journal.damaged}"
    return Check(True, f"DEADSTOP_STATE_DIR is writable{aside}", public="writable")
