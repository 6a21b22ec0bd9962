"""The ledger of what a job holds: bounded, and each entry released or removed once."""

from __future__ import annotations

from datetime import UTC, datetime

from supervisor.core.jobs import resources as ledger

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 2, tzinfo=UTC)


def test_entries_are_released_or_removed_once() -> None:
    book = ledger.acquired((), "terminal", "make", NOW)
    book = ledger.acquired(book, "terminal", "make", NOW)
    book = ledger.released(book, "terminal", "make", LATER)
    assert [entry.action for entry in book] == ["released", "acquired"]
    book = ledger.removed(book, "terminal", "make", LATER)
    assert [entry.action for entry in book] == ["released", "removed"]
    assert ledger.released(book, "terminal", "make", LATER) == book
    assert ledger.held(book) == []


def test_the_ledger_is_bounded_and_forgets_what_is_not_held_first() -> None:
    book = ledger.acquired((), "directory", "workspace", NOW)
    for number in range(1000):
        book = ledger.acquired(book, "file", str(number), NOW)
        book = ledger.released(book, "file", str(number), LATER)
    assert len(book) == ledger.MAX_ENTRIES
    assert [entry.name for entry in ledger.held(book)] == ["workspace"]
    for number in range(1000):
        book = ledger.acquired(book, "file", f"held {number}", NOW)
    assert len(book) == len(ledger.held(book)) == ledger.MAX_ENTRIES


def test_long_names_are_found_again() -> None:
    book = ledger.acquired((), "file", "x" * 5000, NOW)
    assert ledger.held(ledger.released(book, "file", "x" * 5000, LATER)) == []
