"""Requests to stop an attempt. A request has an age instead of a time, because clocks differ between machines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stop:
    """Start the ladder of an attempt, or bring its steps forward: a further stop never delays a step.

    `age_s` is the time since the cause was detected, and the budget runs from that moment. `vanished` means that the
    client's disappearance was noticed late, so the ladder starts at *terminate*. `force` starts at *kill*.
    """

    age_s: float
    budget_s: float
    force: bool = False
    vanished: bool = False


def budget(asked_s: float | None, most_s: float) -> float:
    """Return the budget of a stop: the requested one, but at most the server's own."""
    return most_s if asked_s is None else min(asked_s, most_s)
