"""The runner's own heartbeat, and the Python stacks that its thread gives out.

The thread needs the interpreter lock for every beat, so silence means that something holds the lock: a call into C,
or a stopped process. Whoever wants the stacks signals this thread alone (tgkill(2)): a signal to the process would
interrupt the system calls of the task, and cut its sleeps short.

Two signals. The first is waited for here, in `sigtimedwait`: the stacks are then written with the lock held, while
nothing moves. When the lock does not come, the second runs faulthandler's C handler in this thread, which needs no
lock; and since somebody else holds it in C, nothing moves then either.
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
    """Beats until the process ends. `stack_fd` is the writing end of a pipe to the supervisor."""

    def __init__(self, reporter: Reporter, stack_fd: int) -> None:
        super().__init__(name=STACK_THREAD, daemon=True)
        self._reporter = reporter
        self._stack_fd = stack_fd
        # Nobody reading must not mean that this thread waits: a stack that does not fit into the pipe is cut.
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
        """Take no signal but the second, and only then show the name by which this thread is found."""
        if STACK_SIGNAL_ANYHOW is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - {STACK_SIGNAL_ANYHOW})
        posix.set_name(STACK_THREAD)

    def _write_stacks(self) -> None:
        try:
            faulthandler.dump_traceback(self._stack_fd, all_threads=True)
            os.write(self._stack_fd, STACK_END)
        except OSError:
            return  # the pipe is full, or the task has closed it: whoever asked says that nothing came
