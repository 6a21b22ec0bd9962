"""`python -m tests.support.kill_all LEVEL STATE_DIR NAMESPACE`: a job sends `kill -9 -1`, with another one beside it.

Only for the inside of a pid namespace that was made for it: NAMESPACE is the caller's, and both this program and
the job leave when they find themselves in it. Prints how the two jobs were afterwards, if it is still there itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.core import cancel, ended, running, says, scenario, submit

NOT_HERE = 3
KILL_ALL = """
import os, sys
if os.readlink("/proc/self/ns/pid") == sys.argv[1]:
    sys.exit(3)
os.kill(-1, 9)
"""


def main(level: str, state_dir: str, namespace: str) -> None:
    if str(Path("/proc/self/ns/pid").readlink()) == namespace:
        sys.exit(NOT_HERE)

    async def body() -> None:
        async with running(Path(state_dir), containment=level) as supervisor:
            beside = submit(supervisor, "shell", command="echo READY; sleep 60")
            await says(beside, "READY")
            killer = submit(
                supervisor, "shell", argv=[sys.executable, "-I", "-S", "-c", KILL_ALL, namespace], terminal=False
            )
            await ended(killer)
            print("killer", killer.job.state, killer.job.error and killer.job.error.signal)
            print("beside", beside.job.state)
            cancel(supervisor, beside)
            await ended(beside)

    scenario(body)


if __name__ == "__main__":
    main(*sys.argv[1:])
