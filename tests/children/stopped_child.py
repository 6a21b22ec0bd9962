"""One child that its parent stopped, and one that stopped itself: SIGTERM stays pending until they are continued.

A stopped process cannot end itself, so a watchdog in another session holds their pidfds and kills them in the end.
"""

from __future__ import annotations

import os
import signal

from tests.children.stage import LIFETIME_S, Stage, python, start

_WATCHDOG = """
import select, signal, sys
bound_s, *fds = map(int, sys.argv[1:])
poller = select.poll()
for fd in fds:
    poller.register(fd, select.POLLIN)
if not poller.poll(bound_s * 1000):
    for fd in fds:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
"""


def misbehave(stage: Stage) -> None:
    stopped = start(["sleep", str(LIFETIME_S)], [stage.beacon])
    stopped.send_signal(signal.SIGSTOP)
    stops_itself = start(["sh", "-c", f"kill -STOP $$; exec sleep {LIFETIME_S}"], [stage.beacon])
    pidfds = [os.pidfd_open(child.pid) for child in (stopped, stops_itself)]
    start(python("-c", _WATCHDOG, str(LIFETIME_S), *map(str, pidfds)), pidfds, new_session=True)
    for child in (stopped, stops_itself):
        os.waitpid(child.pid, os.WUNTRACED)
    stage.ready()
    stage.linger()
