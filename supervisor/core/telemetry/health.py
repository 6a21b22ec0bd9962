"""What must hold for the server to take jobs, and what should."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from supervisor.core.journal.journal import Journal
from supervisor.core.journal.open import FILE
from supervisor.core.tasks.catalog import Catalog
from supervisor.core.telemetry.faults import Faults
from supervisor.core.telemetry.stuck_monitor import StuckMonitor
from supervisor.node.run_as import RunAs
from supervisor.node.self_test import SelfTest
from supervisor.node.storage.state_dir import StateDir
from supervisor.node.workers.helper_thread import HelperThread
from supervisor.node.workers.pool import WorkerPool

_PATH = re.compile(r"'/[^']*'|(?<![\w/])/[^\s:;,()'\"]+")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold. Without a `required` one the server takes no jobs; others only degrade it."""

    ok: bool
    detail: str
    required: bool = True
    numbers: dict[str, float] = field(default_factory=dict)
    """What it measured, with units in the names."""
    tracebacks: dict[str, str] = field(default_factory=dict)
    """Module → where its import failed."""
    public: str | None = None
    """The detail for a stranger, who is shown no path and no text of a task module. None: only whether it holds."""

    def for_strangers(self) -> Check:
        words = self.public or ("ok" if self.ok else "does not hold; GET /health says why, with a token")
        return Check(self.ok, words, self.required, self.numbers)


def checks_of(
    *,
    accepting: bool,
    state_dir: StateDir,
    journal: Journal,
    pool: WorkerPool,
    selftest: SelfTest,
    catalog: Catalog,
    stuck_watch: StuckMonitor,
    run_as: RunAs,
    faults: Faults,
) -> dict[str, Check]:
    """The checks by name, as they stand now."""
    broken = "; ".join(f"{module}: {why}" for module, why in catalog.errors.items())
    pending = ", ".join(sorted(catalog.pending))
    stuck = stuck_watch.stuck()
    return {
        "accepting": _open("takes jobs") if accepting else _open("shutting down", ok=False),
        "store": _store(state_dir, journal),
        "starts": _open(f"{pool.ready} sets ready") if pool.trouble is None else _failing(pool.trouble),
        "starter": _thread(pool.thread),
        "selftest": Check(
            selftest.ok, selftest.detail, numbers=selftest.numbers, public=selftest.detail if selftest.ok else None
        ),
        "tasks": Check(
            not broken and not pending,
            broken or (f"describing {pending}" if pending else "described"),
            required=False,
            tracebacks=catalog.tracebacks,
            public=None if broken else "being described" if pending else "described",
        ),
        "internal": Check(not faults.current(), faults.words or "no part failed lately"),
        "run_as": Check(run_as.lacks is None, run_as.lacks or run_as.detail, False),
        "stuck": Check(not stuck, stuck_watch.detail, False, {"jobs": len(stuck)}, public=stuck_watch.detail),
    }


def _thread(thread: HelperThread) -> Check:
    numbers = {"replaced": float(thread.replaced)}
    if thread.trouble is not None:
        return Check(False, thread.trouble, numbers=numbers, public=thread.trouble)
    before = "" if not thread.replaced else f"; replaced {thread.replaced} times, last because {thread.last_replaced}"
    detail = f"the thread {thread.name} works{before}"
    return Check(True, detail, numbers=numbers, public=detail)


def _open(detail: str, *, ok: bool = True) -> Check:
    """A check with nothing in it that strangers may not read."""
    return Check(ok, detail, public=detail)


def _failing(detail: str) -> Check:
    """Strangers read why as well, without the paths that are named in it."""
    return Check(False, detail, public=_PATH.sub("(a path)", detail))


def _store(state_dir: StateDir, journal: Journal) -> Check:
    if state_dir.problem:
        return _open(state_dir.problem, ok=False)
    if journal.error:
        detail = f"STATE_DIR/{FILE} cannot be written: {journal.error}"
        return Check(False, detail, public="the journal cannot be written")
    aside = "" if journal.damaged is None else f"; the damaged journal was set aside as {journal.damaged}"
    return Check(True, f"STATE_DIR is writable{aside}", public="writable")
