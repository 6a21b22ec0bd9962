"""The guardian: one process per job, the only reaper of its tree. It never runs a line of the user's code.

It is the `multiprocessing.Process` of an attempt. Before it has a thread it becomes a subreaper and forks the runner;
from then on every orphan of the job is reparented to it, whatever session or group it moved to. It takes the first
three steps of the ladder and ends with the proof: waitpid(-1) returns ECHILD.

This module is the entry point; `loop` is the rest of the process.
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
from supervisor.guardian.loop import Guardian
from supervisor.guardian.plan import Plan
from supervisor.guardian.protocol import (
    Refused,
)
from supervisor.guardian.resource_tracker import Tracker
from supervisor.guardian.sweep import kill_children

NAME = "deadstop-guard"
"""The name that `ps` shows."""


def main(
    plan: Plan,
    event: SharedEvent,
    control: socket.socket,
    channel: socket.socket,
    stdout: Connection,
    stderr: Connection,
    stack: Connection,
) -> NoReturn:
    """Run the child process. `control` leads to the supervisor; `channel` and the pipes belong to the runner."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    posix.set_dumpable(False)
    posix.set_name(NAME)
    prepare(plan)
    # This closes the forkserver's alive pipe and the server's resource tracker, which must not wait for this process.
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
        kill_children()  # otherwise they would be reparented to the supervisor, which does not look for them
        os._exit(1)
    for end in (channel, stdout, stderr, stack):
        end.close()
    os.close(acknowledge_write)
    Guardian(plan, control, acknowledge_read, launched, tracker).run()
    os._exit(0)
