"""One call into C that holds the GIL: no other thread runs, and a Python handler of SIGTERM never does either.

The interpreter notes the signal and handles it when the call returns, which takes longer than any test waits.
(A regular expression with catastrophic backtracking is a milder case: the `re` module checks for signals now and then.)

The child reports that it is in place from inside that call. If it reported earlier, a signal could arrive before the
call. It reports only to the beacon: a job's output is forwarded by a thread, which needs the GIL.
"""

from __future__ import annotations

import os
from itertools import chain, repeat

from tests.children.stage import IN_PLACE, Stage


def misbehave(stage: Stage) -> None:
    # All of it is C: sum() draws from chain(), which calls write() once and then gives zeros for hours.
    sum(chain(map(os.write, [stage.beacon], [IN_PLACE]), repeat(0, 10**12)))
