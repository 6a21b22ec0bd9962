"""Play faults, each on a server of its own, or count a scene's calls: `python -m tests.faults [PLACE] [FAULT…]`."""

from __future__ import annotations

import sys

from tests.faults.faults import Fault
from tests.faults.invariants import broken
from tests.faults.places import DEFAULT, OTHERS
from tests.faults.runs import counted
from tests.faults.scene import Scene


def main(arguments: list[str]) -> int:
    """Return 1 when an invariant was broken."""
    places = {place.name: place for place in (DEFAULT, *OTHERS)}
    place = places[arguments.pop(0)] if arguments and arguments[0] in places else DEFAULT
    status = 0
    for fault in map(Fault.parse, arguments):
        with place.server() as (server, pid):
            seen, _ = Scene(server, pid).play(fault, stubborn=True)
        wrong = broken(fault, seen)
        status = max(status, bool(wrong))
        print(f"{fault}: came up {seen.hits} times; {wrong or 'all holds'}\n{seen.said}")
    if not arguments:
        for target, calls in counted(place).items():
            print(target, calls)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
