"""Changes in processes that the task forks: they are ordinary programs, and not runners."""

from __future__ import annotations

import os
import signal
import threading

from runner.cancellation import Cancellation
from runner.reporter import Reporter


class ForkHooks:
    """Restores SIGTERM and the reporter's lock in each forked process.

    SIGTERM waits from before the fork until it is restored. Otherwise one that is sent to a process that was just
    forked would run the task's handler there, and be lost: `multiprocessing.Pool` would wait for that process forever.
    """

    def __init__(self, cancellation: Cancellation, reporter: Reporter) -> None:
        self._cancellation = cancellation
        self._reporter = reporter
        self._thread = threading.local()

    def install(self) -> None:
        os.register_at_fork(before=self._block, after_in_parent=self._unblock, after_in_child=self._reset)

    def _block(self) -> None:
        with self._cancellation.shielded():
            self._thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _unblock(self) -> None:
        with self._cancellation.shielded():
            signal.pthread_sigmask(signal.SIG_SETMASK, self._thread.mask)

    def _reset(self) -> None:
        self._reporter.reset_after_fork()
        self._cancellation.reset_after_fork()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._thread.mask)
