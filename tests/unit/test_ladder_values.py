"""The ladder's arithmetic at other budgets, merged stops, and the order of its steps."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.guardian import ladder
from supervisor.guardian.ladder import Ladder, Step

LADDER: Any = Ladder


def test_the_steps_are_in_their_order_and_each_is_worse_than_the_last() -> None:
    assert [step.name for step in sorted(Step)] == ["ASK", "TERMINATE", "KILL", "BACKSTOP", "VERDICT"]
    assert len({int(step) for step in Step}) == 5
    assert int(Step.ASK) == 0


def test_a_stop_is_a_value_that_asks_for_nothing_more() -> None:
    assert LADDER.__dataclass_params__.frozen
    assert "__slots__" in vars(LADDER)
    plain = Ladder(10.0, 2.0)
    assert plain == Ladder(10.0, 2.0, False, False, False, False, None, 0)


@pytest.mark.parametrize("budget_s", [0.5, 2.0, 60.0])
def test_every_step_scales_with_the_budget(budget_s: float) -> None:
    share = budget_s / 2.0
    plain = Ladder(10.0, budget_s)
    assert plain.terminate_at == pytest.approx(10 + 0.25 * share)
    assert plain.kill_at == pytest.approx(10 + 1.2 * share)
    assert plain.backstop_at == pytest.approx(10 + 1.6 * share)
    assert plain.verdict_at == pytest.approx(10 + 1.85 * share)
    assert Ladder(10.0, budget_s, acknowledged=True).terminate_at == pytest.approx(10 + 0.7 * share)
    assert Ladder(10.0, budget_s, vanished=True).kill_at == pytest.approx(10 + 0.2 * share)
    assert Ladder(10.0, budget_s, after_result=True).kill_at == pytest.approx(10 + 0.5 * share)
    assert Ladder(10.0, budget_s, runner_gone_at=10.0).kill_at == pytest.approx(10 + 0.5 * share)


def test_what_has_reported_gets_half_a_second_to_end_by_itself() -> None:
    assert ladder.RESULT_GRACE_S == 0.5


@pytest.mark.parametrize("name", ["force", "vanished", "after_result"])
@pytest.mark.parametrize(("before", "second"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_second_stop_only_raises(name: str, before: bool, second: bool) -> None:
    first = Ladder(10.0, 2.0, **{name: before})
    merged = first.raised(11.0, 3.0, **{name: second})
    assert (merged.t0, merged.budget_s) == (10.0, 2.0)
    flags = {flag: getattr(merged, flag) for flag in ("force", "vanished", "after_result")}
    assert flags == {"force": False, "vanished": False, "after_result": False} | {name: before or second}
    earlier = first.raised(9.0, 1.0)
    assert (earlier.t0, earlier.budget_s) == (9.0, 1.0)
