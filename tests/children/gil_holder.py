"""One call into C that holds the GIL: no other thread runs, and a Python handler of SIGTERM never does either.

The signal is noted by the interpreter and waits for the call to return, which takes longer than anybody waits.
(A regular expression that explodes is a milder case: the `re` module looks for signals now and then.)

It says that it is in place from inside that call: said before, a signal could still come before the call. And only to
the beacon: what forwards a job's output is a thread, and needs the GIL.
"""

from __future__ import annotations

import os
from itertools import chain, repeat

from tests.children.stage import IN_PLACE, Stage


def misbehave(stage: Stage) -> None:
    # All of it is C: sum() draws from chain(), which calls write() once and then gives zeros for hours.
    sum(chain(map(os.write, [stage.beacon], [IN_PLACE]), repeat(0, 10**12)))
