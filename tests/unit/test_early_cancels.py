from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from supervisor.core.early_cancels import EARLY_CANCEL_KEPT_S, EarlyCancels
from supervisor.core.journal.rows import EarlyRow
from supervisor.core.model import Cause, Reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_cause(*, force: bool = False) -> Cause:
    return Cause(Reason.API, 1.0, NOW, force=force)


def test_an_early_cancel_is_kept_per_token_and_taken_once() -> None:
    early = EarlyCancels()
    cause = a_cause()
    early.keep("x", cause, "t")
    assert early.take("x", "other") is None
    assert early.take("x", "t") is cause
    assert early.take("x", "t") is None


def test_the_first_early_cause_is_kept_unless_force_comes() -> None:
    early = EarlyCancels()
    first, second, forced = a_cause(), a_cause(), a_cause(force=True)
    for cause in (first, second):
        early.keep("x", cause, "t")
    assert early.take("x", "t") is first
    for cause in (first, forced):
        early.keep("x", cause, "t")
    assert early.take("x", "t") is forced


def test_an_early_cancel_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    early = EarlyCancels()
    now = [100.0]
    monkeypatch.setattr("supervisor.core.early_cancels.time.monotonic", lambda: now[0])
    early.keep("x", a_cause(), "t")
    now[0] += 31
    assert early.take("x", "t") is None


def test_a_cancel_that_comes_again_is_kept_for_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[EarlyRow] = []
    early = EarlyCancels(on_kept=rows.append)
    now = [100.0]
    monkeypatch.setattr("supervisor.core.early_cancels.time.monotonic", lambda: now[0])
    first = a_cause()
    early.keep("x", first, "t")
    early.keep("y", a_cause(), "t")
    now[0] += 29
    early.keep("x", a_cause(), "t")
    assert [row.id for row in rows] == ["x", "y", "x"]
    now[0] += 29
    early.keep("z", a_cause(), "t")
    assert early.take("y", "t") is None
    assert early.take("x", "t") is first


def test_one_token_pushes_out_its_own_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.core.early_cancels.MAX_EARLY_CANCELS", 3)
    early = EarlyCancels()
    early.keep("mine", a_cause(), "t")
    for number in range(5):
        early.keep(f"x{number}", a_cause(), "flood")
    assert early.take("mine", "t") is not None
    assert [early.take(f"x{number}", "flood") is not None for number in range(5)] == [False, False, True, True, True]


def test_what_was_kept_survives_a_restart_for_the_rest_of_its_time() -> None:
    rows: list[EarlyRow] = []
    before = EarlyCancels(on_kept=rows.append)
    before.keep("x", a_cause(force=True), "t")
    assert EARLY_CANCEL_KEPT_S - 5 < rows[0].expires_at - time.time() <= EARLY_CANCEL_KEPT_S
    taken: list[tuple[str, str]] = []
    after = EarlyCancels(on_taken=lambda token, id_: taken.append((token, id_)))
    after.restore([*rows, EarlyRow("t", "late", time.time() - 1, rows[0].cause)])
    assert after.take("late", "t") is None
    cause = after.take("x", "t")
    assert cause is not None
    # The old server's monotonic clock says nothing here: the ladder would start in the past.
    assert (cause.force, cause.requested_at) == (True, NOW)
    assert abs(cause.detected - time.monotonic()) < 5
    assert taken == [("t", "x")]
