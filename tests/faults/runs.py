"""Many faults, one after the other, and their results."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.faults import Fault, Target
from tests.faults.invariants import broken
from tests.faults.known import known
from tests.faults.places import Slot
from tests.faults.scene import Scene
from tests.faults.seen import Seen

MAX_WRONG = 60
"""A run stops once it has found this many broken invariants."""


@dataclass
class Outcome:
    """`known` and `wrong` have a line for each invariant that was broken; `mended` are known ones that held."""

    played: int = 0
    never_came_up: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)

    def take(self, fault: Fault, seen: Seen) -> bool:
        """Record the results of this fault. Return whether anything was wrong."""
        self.played += 1
        if not seen.hits:
            self.never_came_up.append(str(fault))
        lines = [f"{fault}: {line}" for line in broken(fault, seen)]
        what = known(fault)
        (self.wrong if what is None else self.known).extend(lines)
        if what is not None and not lines:
            self.mended.append(f"{fault}: {what}")
        for line in lines:
            print(line, flush=True)
        return bool(lines)

    def __str__(self) -> str:
        return (
            f"{self.played} faults, {len(self.never_came_up)} never came up; {len(self.wrong)} invariants broken, "
            f"{len(self.known)} more that are known, {len(self.mended)} known ones held"
        )


def play_all(place: Slot, faults: Sequence[Fault]) -> Outcome:
    """Play every fault on one server, and start a new one after each fault that broke an invariant."""
    outcome = Outcome()
    left = iter(faults)
    for fault in left:
        with place.server() as (server, pid):
            scene = Scene(server, pid)
            for one in itertools.chain([fault], left):
                seen, _ = scene.play(one, stubborn=outcome.played % 2 == 1)
                if outcome.take(one, seen):
                    break
        if len(outcome.wrong) >= MAX_WRONG:
            break
    return outcome


def counted(place: Slot) -> dict[Target, dict[str, int]]:
    """How often each target makes each call in one scene, at most: a start may come before the look or after it."""
    counts: dict[Target, dict[str, int]] = {}
    with place.server() as (server, pid):
        scene = Scene(server, pid)
        for target in (*Target, *Target):
            _, injection = scene.play(None, target=target)
            before = counts.setdefault(target, {})
            counts[target] = before | {call: max(n, before.get(call, 0)) for call, n in injection.counts().items()}
    return counts
