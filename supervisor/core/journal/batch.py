"""What goes from the event loop to the writer, and the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from supervisor.core.jobs.event_log import Event
from supervisor.core.journal.rows import EarlyRow, JobRow


@dataclass(slots=True)
class Change:
    """What became of one job: its newest row, and the events since the last one. `new`: it has no row yet."""

    row: JobRow
    new: bool
    version: int
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """What one turn of the event loop hands over. It is written as a whole or not at all."""

    changes: dict[int, Change] = field(default_factory=dict)
    forgotten: list[int] = field(default_factory=list)
    early: list[EarlyRow] = field(default_factory=list)
    early_taken: list[tuple[str, str]] = field(default_factory=list)
    durable: bool = False
    """Sync to the disk, and soon."""
    prompt: bool = False
    """Soon, but it need not survive more than the death of this process."""
    asked: bool = False
    """Somebody waits for the answer, also for a no."""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What came of batches. `written` False: they are kept for another try, except for `refused` new jobs."""

    batches: list[Batch]
    written: bool
    refused: frozenset[int] = frozenset()
    error: str = ""


def runs(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    """Batches that may be written as one: only the first of a run forgets jobs, and it does so before all else.

    A job that is forgotten after it was written must not come back, and its id may be another's right afterwards.
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
    """One change a job: its newest row and all its events."""
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
