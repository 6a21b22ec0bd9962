"""The runner's heartbeat, and the Python stacks that its thread writes on request.

The thread needs the interpreter lock for every beat, so silence means that something holds the lock (a call into C) or
that the process is stopped. A request for stacks is a signal to this thread alone (tgkill(2)): a signal to the process
would interrupt the system calls of the task and shorten its sleeps.

There are two signals. The thread waits for the first one in `sigtimedwait`: the stacks are then written with the lock
held, while no Python code runs. If the lock does not become free, the second one runs faulthandler's C handler in this
thread, which needs no lock; another thread holds it in C code then, so no Python code runs either.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time

from runner import posix
from runner.protocol import Heartbeat
from runner.protocol_stacks import STACK_END, STACK_SIGNAL, STACK_SIGNAL_ANYHOW, STACK_THREAD
from runner.reporter import Reporter

BEAT_S = 0.5


class HeartbeatThread(threading.Thread):
    """A thread that sends heartbeats until the process ends. `stack_fd` is the writing end of a pipe to the
    supervisor.
    """

    def __init__(self, reporter: Reporter, stack_fd: int) -> None:
        super().__init__(name=STACK_THREAD, daemon=True)
        self._reporter = reporter
        self._stack_fd = stack_fd
        # The thread must not block while the pipe is not read: a stack that does not fit into it is cut.
        os.set_blocking(stack_fd, False)
        if STACK_SIGNAL is not None and STACK_SIGNAL_ANYHOW is not None:
            for number in (STACK_SIGNAL, STACK_SIGNAL_ANYHOW):
                faulthandler.register(number, stack_fd, all_threads=True)

    def run(self) -> None:
        self._prepare()
        while True:
            self._reporter.send(Heartbeat())
            if STACK_SIGNAL is None:
                time.sleep(BEAT_S)
            elif signal.sigtimedwait([STACK_SIGNAL], BEAT_S) is not None:
                self._write_stacks()

    def _prepare(self) -> None:
        """Block every signal but the second, and only then set the name by which this thread is found."""
        if STACK_SIGNAL_ANYHOW is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - {STACK_SIGNAL_ANYHOW})
        posix.set_name(STACK_THREAD)

    def _write_stacks(self) -> None:
        try:
            faulthandler.dump_traceback(self._stack_fd, all_threads=True)
            os.write(self._stack_fd, STACK_END)
        except OSError:
            return  # the pipe is full, or the task has closed it: the supervisor reports that no stacks came
