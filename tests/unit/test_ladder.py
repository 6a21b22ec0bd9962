"""The ladder's arithmetic. Times are plain numbers: nothing here waits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.guardian.ladder import Ladder, Step

GIB = 1024**3


def steps(ladder: Ladder, *times: float) -> list[Step]:
    return [ladder.step(time) for time in times]


def test_a_runner_that_says_nothing_is_terminated_early() -> None:
    ladder = Ladder(t0=100.0, budget_s=2.0)
    assert steps(ladder, 100.0, 100.24, 100.25, 101.19, 101.2, 101.6, 101.85) == [
        Step.ASK, Step.ASK, Step.TERMINATE, Step.TERMINATE, Step.KILL, Step.BACKSTOP, Step.VERDICT,
    ]  # fmt: skip


def test_a_runner_that_acknowledged_gets_longer() -> None:
    ladder = Ladder(t0=0.0, budget_s=2.0, acknowledged=True)
    assert steps(ladder, 0.3, 0.69, 0.7, 1.2) == [Step.ASK, Step.ASK, Step.TERMINATE, Step.KILL]


def test_all_steps_scale_with_the_budget() -> None:
    ladder = Ladder(t0=0.0, budget_s=20.0, acknowledged=True)
    assert (ladder.terminate_at, ladder.kill_at, ladder.backstop_at, ladder.verdict_at) == pytest.approx(
        (7.0, 12.0, 16.0, 18.5)
    )


def test_force_starts_at_kill() -> None:
    assert Ladder(t0=5.0, budget_s=2.0, force=True).step(5.0) is Step.KILL


def test_a_vanished_client_starts_at_terminate_with_a_short_grace() -> None:
    ladder = Ladder(t0=0.0, budget_s=2.0, vanished=True)
    assert steps(ladder, 0.0, 0.19, 0.2) == [Step.TERMINATE, Step.TERMINATE, Step.KILL]


def test_when_the_runner_is_gone_the_ladder_goes_on_to_sigterm() -> None:
    ladder = Ladder(t0=0.0, budget_s=2.0, acknowledged=True, runner_gone_at=0.05)
    assert steps(ladder, 0.04, 0.05, 0.54, 0.55) == [Step.ASK, Step.TERMINATE, Step.TERMINATE, Step.KILL]


def test_a_runner_that_goes_late_does_not_postpone_the_kill() -> None:
    assert Ladder(t0=0.0, budget_s=2.0, runner_gone_at=1.1).kill_at <= 1.2


@pytest.mark.parametrize(("gib", "kill_at"), [(0, 1.2), (1, 1.2), (4, 0.78), (20, 0.25)])
def test_much_memory_is_killed_earlier_but_never_before_terminate(gib: int, kill_at: float) -> None:
    assert Ladder(t0=0.0, budget_s=2.0, rss_bytes=gib * GIB).kill_at == pytest.approx(kill_at)


def test_next_due_walks_the_steps_and_ends() -> None:
    ladder = Ladder(t0=0.0, budget_s=2.0)
    dues, now = [], 0.0
    while (due := ladder.next_due(now)) is not None:
        dues.append(now := due)
    assert dues == pytest.approx([0.25, 1.2, 1.6, 1.85])


ladders = st.builds(
    Ladder,
    t0=st.just(0.0),
    budget_s=st.floats(0.2, 60),
    force=st.booleans(),
    vanished=st.booleans(),
    acknowledged=st.booleans(),
    runner_gone_at=st.none() | st.floats(0, 60),
    rss_bytes=st.integers(0, 64 * GIB),
)


@given(ladders, st.lists(st.floats(0, 100), min_size=2, max_size=20))
def test_severity_only_rises_with_time(ladder: Ladder, times: list[float]) -> None:
    reached = [ladder.step(time) for time in sorted(times)]
    assert reached == sorted(reached)


@given(ladders)
def test_every_stop_is_killed_before_its_backstop(ladder: Ladder) -> None:
    assert (
        ladder.t0 <= ladder.terminate_at <= ladder.kill_at <= ladder.backstop_at < ladder.verdict_at < ladder.budget_s
    )


@given(ladders, st.floats(0, 100))
def test_force_never_lowers_a_step(ladder: Ladder, now: float) -> None:
    assert replace(ladder, force=True).step(now) >= ladder.step(now)


def test_after_a_result_the_task_is_not_asked() -> None:
    ladder = Ladder(t0=10.0, budget_s=2.0, after_result=True)
    assert steps(ladder, 9.99, 10.0, 10.49, 10.5) == [Step.ASK, Step.TERMINATE, Step.TERMINATE, Step.KILL]
    assert steps(replace(ladder, runner_gone_at=9.5), 9.5, 9.99, 10.0) == [Step.TERMINATE, Step.TERMINATE, Step.KILL]


STOPS = st.fixed_dictionaries(
    {
        "t0": st.floats(0, 10),
        "budget_s": st.floats(0.2, 60),
        "force": st.booleans(),
        "vanished": st.booleans(),
        "after_result": st.booleans(),
    }
)


@given(STOPS, STOPS)
def test_a_second_stop_makes_no_step_later(first: dict[str, float], second: dict[str, float]) -> None:
    one, other = Ladder(**first), Ladder(**second)  # type: ignore[arg-type]
    both = one.raised(**second)  # type: ignore[arg-type]
    for due in ("terminate_at", "kill_at", "backstop_at", "verdict_at"):
        assert getattr(both, due) <= min(getattr(one, due), getattr(other, due))
