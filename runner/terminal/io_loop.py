"""The input and output of a command, one poll(2) at a time: output, typed text, the cancel request and the exit.

A command ends when its output ends: in `exec > >(tee log)` a process still writes after the shell has exited. So the
output is read to its end, but for LINGER_S at most, because a daemon may keep it open for ever. While the job is being
stopped, the processes that the command left in its process group have the time that the ladder gives them.
"""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Callable

from runner.cancellation import Cancellation
from runner.reporter import READ_BYTES, Decoder, Stream
from runner.terminal.command_input import CommandInput
from runner.terminal.command_process import CHECK_GROUP_S, CommandProcess
from runner.terminal.exit_status import ExitStatus
from runner.terminal.spawn import Spawned

LINGER_S = 0.5
"""How long output is read after the command has exited."""
LAST_READS = 64
"""Reads of each stream after LINGER_S. They empty the buffers; a background process may write for ever."""
_LONGEST_CHECK_S = 0.16
"""The longest interval between two checks of a process group without its leader: each check reads every process."""
_POLL_WITHOUT_PIDFD_S = 0.05
_LONGEST_POLL_MS = 3_600_000.0
"""poll(2) takes a C int, so that a longer wait needs several calls."""


class CommandIO:
    """The descriptors of one command. `step` is for the task's thread.

    `on_text` is called with the output as it comes. Each stream is decoded by itself.
    """

    def __init__(self, spawned: Spawned, cancellation: Cancellation, on_text: Callable[[Stream, str], None]) -> None:
        self.spawned = spawned
        self.status: ExitStatus | None = None
        """How the command ended, once its output has been read."""
        self._cancellation = cancellation
        self._on_text = on_text
        self._decoders = {fd: (stream, Decoder()) for fd, stream in spawned.outputs.items()}
        self._open = set(spawned.outputs)
        self._noticed = False
        self._check_at = 0.0
        self._check_s = CHECK_GROUP_S / 2
        self.input = CommandInput(spawned)
        for fd in {*spawned.outputs, spawned.input_fd} - {None}:
            os.set_blocking(fd, False)  # type: ignore[arg-type]
        self.process = CommandProcess(spawned, cancellation)

    @property
    def takes_input(self) -> bool:
        return self.status is None and self.input.is_open

    @property
    def open_outputs(self) -> frozenset[int]:
        """Descriptors that have not reached the end of their stream."""
        return frozenset(self._open)

    def detach(self) -> None:
        """Leave what still runs in the background: the cancel request and the clients' input are not for it."""
        self.process.detach()
        self.input.detach()

    def close(self) -> None:
        """Close the descriptors. Call it once the command has ended; further calls do nothing."""
        self.detach()
        self._open.clear()
        self.spawned.close()
        self.process.close()

    def step(self, deadline: float | None) -> None:
        """Wait for the next event and handle it: output, room for input, typed input, the cancel request or the exit.

        Raise TimeoutError at `deadline` (monotonic seconds).
        """
        for fd, events in self._poller().poll(self._timeout_ms(deadline)):
            if fd in self._open:
                # In a terminal the event may be room for input alone; the read then finds nothing.
                self.read_output(fd)
            elif fd == self.spawned.input_fd and events & select.POLLERR:
                self.input.close()
            elif fd == self.input.client_fd:
                self.input.take()
            elif fd == self._cancellation.wake_fd:
                self._noticed = self._cancellation.notice()
                self.process.request_stop()
        self.input.send()
        if self.process.has_exited():
            if self._is_over():
                self.finish()
        elif deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError(f"the command with pid {self.spawned.pid} still runs")

    def _poller(self) -> select.poll:
        poller = select.poll()
        for fd in self._open:
            poller.register(fd, select.POLLIN)
        if self.spawned.input_fd is not None:
            both = select.POLLIN if self.spawned.input_fd in self._open else 0
            room = select.POLLOUT if self.input.unsent_bytes else 0
            # A pipe always reports that its reader is gone; a terminal would report it again and again.
            if room or self.spawned.terminal_fd is None:
                poller.register(self.spawned.input_fd, room | both)
            if (clients := self.input.client_fd) is not None:
                poller.register(clients, select.POLLIN)
        if self.process.stops_with_job and not self._noticed:
            poller.register(self._cancellation.wake_fd, select.POLLIN)
        if self.process.exit_fd is not None and self.process.exited_at is None:
            poller.register(self.process.exit_fd, select.POLLIN)
        return poller

    def _timeout_ms(self, deadline: float | None) -> float | None:
        if self.process.exited_at is not None:
            if self.process.is_being_stopped:
                return CHECK_GROUP_S * 1000
            return max(0.0, self.process.exited_at + LINGER_S - time.monotonic()) * 1000
        timeout_ms = None if deadline is None else min(max(0.0, (deadline - time.monotonic()) * 1000), _LONGEST_POLL_MS)
        if self.process.exit_fd is None:  # macOS has no pidfd, so the exit is checked at intervals
            return min(_POLL_WITHOUT_PIDFD_S * 1000, timeout_ms or math.inf)
        return timeout_ms

    def read_output(self, fd: int) -> bool:
        """Read once and pass the text on. Return False at the end of the stream."""
        stream, decoder = self._decoders[fd]
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:  # EIO: every process has closed the terminal's other side
            data = b""
        if text := decoder.feed(data, final=not data):
            self._on_text(stream, text)
        if not data:
            self._open.discard(fd)
        return bool(data)

    def _is_over(self) -> bool:
        """Return whether to stop waiting for the processes that the command has left."""
        if self.process.is_being_stopped:
            if time.monotonic() < self._check_at:
                return False
            if self.process.any_alive():
                self._check_s = min(2 * self._check_s, _LONGEST_CHECK_S)
                self._check_at = time.monotonic() + self._check_s
                return False
        return not self._open or time.monotonic() >= (self.process.exited_at or 0.0) + LINGER_S

    def finish(self) -> None:
        """Read what the buffers of an exited command still hold, and set the status."""
        for fd in list(self._open):
            for _ in range(LAST_READS):
                if not select.select([fd], [], [], 0)[0] or not self.read_output(fd):
                    break
        self.status = self.process.status
