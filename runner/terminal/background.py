"""Read the output of processes that a command has left running when it ended.

A process that writes to a terminal blocks soon if the terminal is not read, and is hung up when it is closed. So a
server that was started by `ctx.terminal("server &")` keeps its terminal, and its output still goes to the job's events.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable

from runner.terminal.io_loop import CommandIO


class Background(threading.Thread):
    """A thread that reads the output of an ended command, to its end or until `end`."""

    def __init__(self, io: CommandIO) -> None:
        super().__init__(name=f"deadstop-background-{io.spawned.pid}", daemon=True)
        self._io = io
        self._end_read, self._end_write = os.pipe2(os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._is_over = False
        self._callback: Callable[[], object] | None = None
        io.detach()

    def when_over(self, callback: Callable[[], object]) -> None:
        """Call `callback` once neither a writer nor a process in the command's group is left."""
        with self._lock:
            if not self._is_over:
                self._callback = callback
                return
        callback()

    def run(self) -> None:
        poller = select.poll()
        for fd in (*self._io.open_outputs, self._end_read):
            poller.register(fd, select.POLLIN)
        while self._io.open_outputs:
            for fd, _ in poller.poll():
                if fd == self._end_read:
                    return
                if not self._io.read_output(fd):
                    poller.unregister(fd)
        if not self._io.process.any_alive():
            self._finish()
        elif self._io.spawned.holder is None:
            self._io.close()  # a terminal that controls a session stays open, because closing it hangs up its processes

    def end(self, grace_s: float) -> None:
        """End the command's process group, by SIGTERM and then SIGKILL, and close the terminal."""
        self._io.process.signal(signal.SIGTERM)
        self._io.process.kill_after(grace_s)
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
        self._io.close()
        if self._callback is not None:
            self._callback()
