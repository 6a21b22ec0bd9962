"""The resources that a job holds or held: acquired, then released by the job or removed after its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from supervisor.core.jobs.model import Resource
from supervisor.engine.report import ResourceKind

MAX_ENTRIES = 256
"""Beyond this number the oldest entries that are not held are dropped. If all are held, new ones appear only in
events."""
MAX_NAME = 256

Ledger = tuple[Resource, ...]
Change = Callable[[Resource], Resource]


def acquired(ledger: Ledger, kind: ResourceKind, name: str, now: datetime) -> Ledger:
    while len(ledger) >= MAX_ENTRIES:
        over = next((entry for entry in ledger if not entry.held), None)
        if over is None:
            return ledger
        ledger = tuple(entry for entry in ledger if entry is not over)
    return (*ledger, Resource(kind, name[:MAX_NAME], now))


def released(ledger: Ledger, kind: ResourceKind, name: str, now: datetime) -> Ledger:
    """Mark the first held resource of this name as released by the job. Do nothing if there is none."""
    return _change(ledger, kind, name, lambda entry: replace(entry, released_at=now))


def removed(ledger: Ledger, kind: ResourceKind, name: str, now: datetime) -> Ledger:
    """Mark a resource as removed after the end of its job."""
    return _change(ledger, kind, name, lambda entry: replace(entry, removed_at=now))


def held(ledger: Ledger) -> list[Resource]:
    return [entry for entry in ledger if entry.held]


def _change(ledger: Ledger, kind: ResourceKind, name: str, change: Change) -> Ledger:
    entries = list(ledger)
    for index, entry in enumerate(entries):
        if entry.held and (entry.kind, entry.name) == (kind, name[:MAX_NAME]):
            entries[index] = change(entry)
            return tuple(entries)
    return ledger


def changed(ledger: Ledger, action: str, kind: ResourceKind, name: str, now: datetime) -> Ledger:
    """Return the ledger after a change. `action` is acquired, released or removed."""
    return {"acquired": acquired, "released": released, "removed": removed}[action](ledger, kind, name, now)
