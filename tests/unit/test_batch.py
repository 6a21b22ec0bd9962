"""Batches for the journal's writer: which of them are written as one, and what each job becomes."""

from __future__ import annotations

import dataclasses
from typing import Any

from supervisor.core.journal.batch import Batch, Change, Report, merged, runs

OLD: Any = "old row"
NEW: Any = "new row"
FIRST: Any = "first event"
SECOND: Any = "second event"


def test_a_batch_asks_for_nothing_by_itself() -> None:
    batch = Batch()
    assert (batch.durable, batch.prompt, batch.asked, batch.size_bytes) == (False, False, False, 0)
    assert Report([], written=True) == Report([], True, frozenset(), "")
    parameters: Any = Report
    assert parameters.__dataclass_params__.frozen
    assert all("__slots__" in vars(kind) for kind in (Batch, Change, Report))


def test_only_the_first_batch_of_a_run_forgets_jobs() -> None:
    plain, forgets, later, again = Batch(), Batch(forgotten=[1]), Batch(), Batch(forgotten=[2])
    assert [list(map(id, run)) for run in runs([plain, later])] == [[id(plain), id(later)]]
    found = [list(map(id, run)) for run in runs([forgets, plain, later, again])]
    assert found == [[id(forgets), id(plain), id(later)], [id(again)]]
    assert list(runs([])) == []


def test_a_job_has_its_newest_row_and_all_its_events() -> None:
    first = Change(OLD, new=True, version=1, events=[FIRST])
    second = Change(NEW, new=False, version=2, events=[SECOND])
    other = Change(OLD, new=False, version=1)
    before = dataclasses.replace(first, events=[FIRST])
    (one, two) = merged([Batch(changes={1: first}), Batch(changes={1: second, 2: other})])
    assert (one.row, one.new, one.events) == (NEW, True, [FIRST, SECOND])
    assert (two.row, two.new, two.events) == (OLD, False, [])
    assert first == before, "what was handed over is kept for another try"
