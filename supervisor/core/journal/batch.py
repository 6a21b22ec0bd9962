"""The messages between the event loop and the journal's writer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from supervisor.core.jobs.event_log import Event
from supervisor.core.journal.rows import EarlyRow, JobRow


@dataclass(slots=True)
class Change:
    """Changes of one job: its newest row, and the events since the last change. `new` means that it has no row yet."""

    row: JobRow
    new: bool
    version: int
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """The changes of one turn of the event loop. They are written in one transaction."""

    changes: dict[int, Change] = field(default_factory=dict)
    forgotten: list[int] = field(default_factory=list)
    early: list[EarlyRow] = field(default_factory=list)
    early_taken: list[tuple[str, str]] = field(default_factory=list)
    durable: bool = False
    """Whether to write soon, and sync to the disk."""
    prompt: bool = False
    """Whether to write soon, without syncing: the data then survives only the death of this process."""
    asked: bool = False
    """Whether a caller waits for the result, even if it is a failure."""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The result of batches. If `written` is False they will be tried again, except for the new jobs in `refused`."""

    batches: list[Batch]
    written: bool
    refused: frozenset[int] = frozenset()
    error: str = ""


def runs(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    """Yield runs of batches that may be written as one. Only the first of a run forgets jobs, before anything else.

    A job that is forgotten after it was written must not come back, and its ID may be reused right afterwards.
    """
    run: list[Batch] = []
    for batch in batches:
        if batch.forgotten and run:
            yield run
            run = []
        run.append(batch)
    if run:
        yield run


def merged(run: Iterable[Batch]) -> list[Change]:
    """Return one change for each job, with its newest row and all its events."""
    changes: dict[int, Change] = {}
    for batch in run:
        for seq, change in batch.changes.items():
            known = changes.get(seq)
            if known is None:
                changes[seq] = Change(change.row, change.new, change.version, list(change.events))
            else:
                known.row = change.row
                known.events += change.events
    return list(changes.values())
