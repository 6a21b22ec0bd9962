"""Checks of /readyz and /health for this machine: conditions that jobs need to run."""

from __future__ import annotations

import re

from supervisor.engine.inspection import Check
from supervisor.node.run_as import RunAs
from supervisor.node.self_test import SelfTest
from supervisor.node.storage.state_dir import StateDir
from supervisor.node.workers.helper_thread import HelperThread
from supervisor.node.workers.pool import WorkerPool

_PATH = re.compile(r"'/[^']*'|(?<![\w/])/[^\s:;,()'\"]+")


def checks_of(*, state_dir: StateDir, pool: WorkerPool, self_test: SelfTest, run_as: RunAs) -> dict[str, Check]:
    """Return the present results of the checks, by name."""
    detail = self_test.detail
    return {
        "folders": _open("DEADSTOP_STATE_DIR is writable")
        if not state_dir.problem
        else _open(state_dir.problem, ok=False),
        "starts": _open(f"{pool.ready} workers ready") if pool.trouble is None else _failing(pool.trouble),
        "starter": _thread(pool.thread),
        "selftest": Check(self_test.ok, detail, numbers=self_test.numbers, public=detail if self_test.ok else None),
        "run_as": Check(run_as.lacks is None, run_as.lacks or run_as.detail, False),
    }


def _thread(thread: HelperThread) -> Check:
    numbers = {"replaced": float(thread.replaced)}
    if thread.trouble is not None:
        return Check(False, thread.trouble, numbers=numbers, public=thread.trouble)
    before = "" if not thread.replaced else f"; replaced {thread.replaced} times, last because {thread.last_replaced}"
    detail = f"the thread {thread.name} works{before}"
    return Check(True, detail, numbers=numbers, public=detail)


def _open(detail: str, *, ok: bool = True) -> Check:
    """Return a check whose detail clients without a token may read."""
    return Check(ok, detail, public=detail)


def _failing(detail: str) -> Check:
    """Return a failed check. Clients without a token see the reason without its paths."""
    return Check(False, detail, public=_PATH.sub("(a path)", detail))
