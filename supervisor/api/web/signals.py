"""Signals that stop the server: the first stops it in order, the second kills its jobs, the third exits at once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from supervisor import logs

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def reset_inherited() -> None:
    """Undo what the parent process did to signals.

    Blocked signals would never arrive. With SIGCHLD ignored the kernel reaps our children, and their exit statuses are
    lost (sigaction(2)). An ignored SIGHUP stays ignored, as nohup wants it.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


class Stop:
    """The stop that signals have requested so far. Only for use on the event loop."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.forced = asyncio.Event()
        self.first: signal.Signals | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals. After the block the process is about to exit, and a further signal ends it at once."""
        loop = asyncio.get_running_loop()
        handled = [sig for sig in ENDING if signal.getsignal(sig) is not signal.SIG_IGN]
        for sig in handled:
            loop.add_signal_handler(sig, self._received, sig)
        try:
            yield
        finally:
            for sig in handled:
                loop.remove_signal_handler(sig)
                signal.signal(sig, _leave)

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, as usual; 0 for an orderly stop by SIGTERM or SIGHUP."""
        return 130 if self.first is signal.SIGINT else 0

    def _received(self, sig: signal.Signals) -> None:
        if self.first is None:
            self.first = sig
            self.asked.set()
            line = f"deadstop: {sig.name}: stopping the jobs; again: kill them; a third time: leave at once"
            logs.say(line, event="stopping", signal=sig.name)
        elif not self.forced.is_set():
            self.forced.set()
            logs.say(f"deadstop: {sig.name} again: killing the jobs", event="killing", signal=sig.name)
        else:
            _leave(sig, None)


def leave_after(seconds: float, why: str) -> None:
    """Exit with code 3 after that time, whatever else happens. The code says that the jobs' end is not proven."""
    timer = threading.Timer(seconds, _exit_now, (f"deadstop: {why}", 3))
    timer.daemon = True
    timer.start()


def _leave(signum: int, _frame: object) -> NoReturn:
    # The guardians see the end of our pipes and kill the jobs.
    _exit_now("deadstop: left at once", 128 + signum)


def _exit_now(line: str, code: int) -> NoReturn:
    try:
        os.write(2, logs.notice(line, event="left", level="error"))
    finally:
        os._exit(code)
