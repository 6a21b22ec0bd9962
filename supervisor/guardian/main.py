"""The guardian: one per job, the only reaper of its tree, never a line of the user's code.

It is the `multiprocessing.Process` of an attempt. Before it has a thread it becomes a subreaper and forks the
runner; from then on every orphan of the job comes to it, whatever session or group it moved to. It runs the
first three steps of the ladder and ends with the proof: waitpid(-1) says ECHILD.

Here is how the process begins; `guardian_loop` is what it then does.
"""

from __future__ import annotations

import os
import signal
import socket
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event as SharedEvent
from typing import NoReturn

from runner import main as runner_main
from runner import posix
from runner.codec import encode
from runner.posix import close_all_but
from supervisor.guardian import procfs
from supervisor.guardian.launch import LaunchFailed, launch, prepare
from supervisor.guardian.level import Plan
from supervisor.guardian.loop import Guardian
from supervisor.guardian.protocol import (
    Refused,
)
from supervisor.guardian.resource_tracker import Tracker
from supervisor.guardian.sweep import end_children

NAME = "deadstop-guard"
"""As `ps` shows it."""


def main(
    plan: Plan,
    event: SharedEvent,
    control: socket.socket,
    channel: socket.socket,
    stdout: Connection,
    stderr: Connection,
    stack: Connection,
) -> NoReturn:
    """Entry point of the child process. `control` leads to the supervisor; `channel` and the pipes are the runner's."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    posix.set_dumpable(False)
    posix.set_name(NAME)
    prepare(plan)
    # Among others the forkserver's alive pipe and the server's resource tracker, which must not wait for us.
    close_all_but(procfs.FOLDER_FD, *(end.fileno() for end in (control, channel, stdout, stderr, stack)))
    tracker = Tracker.start()
    acknowledge_read, acknowledge_write = os.pipe2(os.O_CLOEXEC)
    outputs = (stdout.fileno(), stderr.fileno())
    try:
        launched = launch(
            plan, lambda: runner_main.run(event, channel, outputs, acknowledge_write, stack.fileno(), [tracker.fd])
        )
    except LaunchFailed as exc:
        control.sendall(encode(Refused(str(exc))))
        end_children()  # left alone they would come to the supervisor, which does not look for them
        os._exit(1)
    for end in (channel, stdout, stderr, stack):
        end.close()
    os.close(acknowledge_write)
    Guardian(plan, control, acknowledge_read, launched, tracker).run()
    os._exit(0)
