"""What a command has left running when it ended: its output is read for as long as it writes.

Nothing in a terminal that is not read can write for long, and one that is closed hangs up. So a server that was started
by `ctx.terminal("server &")` keeps its terminal, and what it writes still goes to the job's events.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable

from runner.terminal.io_loop import Pump


class Background(threading.Thread):
    """Reads what `pump` still has to read, to its end or until `end`."""

    def __init__(self, pump: Pump) -> None:
        super().__init__(name=f"deadstop-background-{pump.spawned.pid}", daemon=True)
        self._pump = pump
        self._end_read, self._end_write = os.pipe2(os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._is_over = False
        self._then: Callable[[], object] | None = None
        pump.leave()

    def when_over(self, then: Callable[[], object]) -> None:
        """Call `then` once nothing is left: neither a writer nor a process in the command's group."""
        with self._lock:
            if not self._is_over:
                self._then = then
                return
        then()

    def run(self) -> None:
        poller = select.poll()
        for fd in (*self._pump.open_outputs, self._end_read):
            poller.register(fd, select.POLLIN)
        while self._pump.open_outputs:
            for fd, _ in poller.poll():
                if fd == self._end_read:
                    return
                if not self._pump.take_output(fd):
                    poller.unregister(fd)
        if not self._pump.has_group():
            self._finish()
        elif self._pump.spawned.holder is None:
            self._pump.close()  # a terminal that controls something is hung up when it is closed

    def end(self, grace_s: float) -> None:
        """End what is in the command's process group, by SIGTERM and then SIGKILL, and close the terminal."""
        self._pump.signal(signal.SIGTERM)
        self._pump.end_group(grace_s)
        with self._lock:
            if not self._is_over:
                os.write(self._end_write, b"!")
        self.join()
        self._finish()

    def _finish(self) -> None:
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            for fd in (self._end_read, self._end_write):
                os.close(fd)
        self._pump.close()
        if self._then is not None:
            self._then()
