"""How often a tree is swept: without a pause while new processes are found, and less and less often after that."""

from __future__ import annotations

from supervisor.guardian.sweep_pacing import SweepPacing


def pauses(rounds: SweepPacing, newcomers: list[bool]) -> list[int]:
    """Return the pauses in milliseconds after rounds that found new processes or did not."""
    found = []
    for met in newcomers:
        rounds.made(100.0, newcomers=met)
        found.append(round((rounds.due - 100.0) * 1000))
    return found


def test_the_first_round_is_due_at_once() -> None:
    assert SweepPacing.of_terminate().due == SweepPacing.of_kill().due == 0.0


def test_a_kill_does_not_rest_while_newcomers_are_met() -> None:
    assert pauses(SweepPacing.of_kill(), [True, True, False, False, True, False]) == [0, 0, 2, 4, 0, 2]


def test_those_that_are_only_ending_are_looked_at_less_and_less_but_always_again() -> None:
    assert pauses(SweepPacing.of_kill(), [False] * 7) == [2, 4, 8, 16, 32, 32, 32]
    assert pauses(SweepPacing.of_terminate(), [True, False, False, False, False, False, True]) == [
        20,
        20,
        40,
        80,
        160,
        160,
        20,
    ]


def test_a_misspelt_field_is_refused() -> None:
    """A new attribute would leave the pause that was meant as it is."""
    assert "__slots__" in vars(SweepPacing)
