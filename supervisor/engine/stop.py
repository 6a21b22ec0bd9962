"""How an attempt is to be stopped. A stop says how old it is, never when it was: clocks differ between machines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stop:
    """Start the ladder of an attempt, or raise it: no step comes later than it would without this stop.

    `age_s` is how long ago the cause was detected; the budget runs from then. `vanished`: the client disappeared
    without a word and was noticed late, so the ladder starts at *terminate*. `force` starts at *kill*.
    """

    age_s: float
    budget_s: float
    force: bool = False
    vanished: bool = False


def budget(asked_s: float | None, most_s: float) -> float:
    """Return the budget of a stop: what was asked for, and never more than the server's own."""
    return most_s if asked_s is None else min(asked_s, most_s)
