from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter

from supervisor.core.jobs.model import Cause, Reason
from supervisor.core.journal.rows import EarlyRow
from supervisor.core.loop.awake_clock import AwakeClock
from supervisor.core.running.pending_cancels import EARLY_CANCEL_KEPT_S, PendingCancels
from tests.support.clock import SteppedClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_cause(*, force: bool = False) -> Cause:
    return Cause(Reason.API, 1.0, NOW, force=force)


def test_an_early_cancel_is_kept_per_token_and_taken_once() -> None:
    early = PendingCancels(AwakeClock())
    cause = a_cause()
    early.keep("x", cause, "t")
    assert early.take("x", "other") is None
    assert early.take("x", "t") is cause
    assert early.take("x", "t") is None


def test_the_first_early_cause_is_kept_unless_force_comes() -> None:
    early = PendingCancels(AwakeClock())
    first, second, forced = a_cause(), a_cause(), a_cause(force=True)
    for cause in (first, second):
        early.keep("x", cause, "t")
    assert early.take("x", "t") is first
    for cause in (first, forced):
        early.keep("x", cause, "t")
    assert early.take("x", "t") is forced


def test_an_early_cancel_expires() -> None:
    clock = SteppedClock()
    early = PendingCancels(clock.awake)
    early.keep("x", a_cause(), "t")
    clock.step(31)
    assert early.take("x", "t") is None


def test_the_time_in_which_the_server_slept_does_not_count() -> None:
    clock = SteppedClock()
    early = PendingCancels(clock.awake)
    cause = a_cause()
    early.keep("x", cause, "t")
    clock.step(20)
    clock.sleep(3600)
    clock.step(9)
    assert early.take("x", "t") is cause


def test_a_cancel_that_comes_again_is_kept_for_as_long_as_it_says() -> None:
    rows: list[EarlyRow] = []
    clock = SteppedClock()
    early = PendingCancels(clock.awake, on_kept=rows.append)
    first = a_cause()
    early.keep("x", first, "t")
    early.keep("y", a_cause(), "t")
    clock.step(29)
    early.keep("x", a_cause(), "t")
    assert [row.id for row in rows] == ["x", "y", "x"]
    clock.step(29)
    early.keep("z", a_cause(), "t")
    assert early.take("y", "t") is None
    assert early.take("x", "t") is first


def test_one_token_pushes_out_its_own_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.core.running.pending_cancels.MAX_EARLY_CANCELS", 3)
    early = PendingCancels(AwakeClock())
    early.keep("mine", a_cause(), "t")
    for number in range(5):
        early.keep(f"x{number}", a_cause(), "flood")
    assert early.take("mine", "t") is not None
    assert [early.take(f"x{number}", "flood") is not None for number in range(5)] == [False, False, True, True, True]


def test_what_was_kept_survives_a_restart_for_the_rest_of_its_time() -> None:
    rows: list[EarlyRow] = []
    before = PendingCancels(AwakeClock(), on_kept=rows.append)
    before.keep("x", a_cause(force=True), "t")
    assert EARLY_CANCEL_KEPT_S - 5 < rows[0].expires_at - time.time() <= EARLY_CANCEL_KEPT_S
    gone: list[tuple[str, str]] = []
    after = PendingCancels(AwakeClock(), on_gone=lambda token, id_: gone.append((token, id_)))
    after.restore([*rows, EarlyRow("t", "late", rows[0].expires_at, aged(rows[0], 31.0))])
    assert gone == [("t", "late")]
    assert after.take("late", "t") is None
    cause = after.take("x", "t")
    assert cause is not None
    # The detection is now, or the ladder would start in the past.
    assert (cause.force, cause.requested_at) == (True, NOW)
    assert abs(cause.detected - time.monotonic()) < 5
    assert gone == [("t", "late"), ("t", "x")]


@pytest.mark.parametrize("jump_s", [-86400.0, 86400.0])
def test_a_wall_clock_that_jumps_changes_nothing_within_one_boot(jump_s: float) -> None:
    rows: list[EarlyRow] = []
    PendingCancels(AwakeClock(), on_kept=rows.append).keep("x", a_cause(), "t")
    after = PendingCancels(AwakeClock())
    after.restore([replace(rows[0], expires_at=rows[0].expires_at + jump_s)])
    assert after.take("x", "t") is not None


@pytest.mark.parametrize(("left_s", "is_kept"), [(-1.0, False), (5.0, True), (86400.0, False)])
def test_after_another_boot_only_the_wall_clock_is_left(left_s: float, is_kept: bool) -> None:
    rows: list[EarlyRow] = []
    PendingCancels(AwakeClock(), on_kept=rows.append).keep("x", a_cause(), "t")
    text = json.dumps(json.loads(rows[0].cause) | {"boot_id": "another"})
    after = PendingCancels(AwakeClock())
    after.restore([EarlyRow("t", "x", time.time() + left_s, text)])
    assert (after.take("x", "t") is not None) is is_kept


def test_a_row_of_an_earlier_version_is_read() -> None:
    after = PendingCancels(AwakeClock())
    after.restore([EarlyRow("t", "x", time.time() + 5, TypeAdapter(Cause).dump_json(a_cause()).decode())])
    assert after.take("x", "t") is not None


def aged(row: EarlyRow, seconds: float) -> str:
    fields = json.loads(row.cause)
    return json.dumps(fields | {"kept_at": fields["kept_at"] - seconds})
