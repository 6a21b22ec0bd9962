"""What goes on between a task and its command: output out, typed text in, signals, the end. One poll(2) at a time.

The end of a command is the end of its output: `exec > >(tee log)` leaves a process that still writes when the shell has
ended. So the output is read on to its end, but for LINGER_S at most, since a daemon may hold it for ever. While the job
is being stopped, what the command left in its process group has the time that the ladder gives it.
"""

from __future__ import annotations

import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from runner.cancellation import Cancellation
from runner.reporter import READ_BYTES, Decoder, Stream
from runner.terminal.command_input import CommandInput
from runner.terminal.exit_status import ExitStatus
from runner.terminal.groups import any_alive, groups_below, signal_groups
from runner.terminal.spawn import Spawned

LINGER_S = 0.5
"""How long output may come after the command has ended."""
LAST_READS = 64
"""A background child may write for ever; what is in the buffers after LINGER_S is enough."""
_LOOK_S = 0.02
_LONGEST_LOOK_S = 0.16
"""How often a process group is looked at that has lost its leader: ever less, as every process is read for it."""
_POLL_WITHOUT_PIDFD_S = 0.05
_LONGEST_POLL_MS = 3_600_000.0
"""poll(2) takes a C int. After this it is asked again."""


class Pump:
    """The descriptors of one command. `step` belongs to the task's thread; `ask` and `signal` to any.

    `on_text` gets the output as it comes, each stream decoded by itself.
    """

    def __init__(self, spawned: Spawned, cancellation: Cancellation, on_text: Callable[[Stream, str], None]) -> None:
        self.spawned = spawned
        self.status: ExitStatus | None = None
        self.listening = not cancellation.requested
        """What is started while the job cleans up is part of the cleaning: the ask was for what came before."""
        self._cancellation = cancellation
        self._on_text = on_text
        self._decoders = {fd: (stream, Decoder()) for fd, stream in spawned.outputs.items()}
        self._open = set(spawned.outputs)
        self._exit_fd = os.pidfd_open(spawned.pid) if hasattr(os, "pidfd_open") else None
        self._noticed = False
        self._asked = False
        self._exited_at: float | None = None
        self._ended: ExitStatus | None = None
        self._asked_groups: frozenset[int] = frozenset()
        self._look_at = 0.0
        self._look_s = _LOOK_S / 2
        self.input = CommandInput(spawned)
        self._reaping = threading.Lock()
        for fd in {*spawned.outputs, spawned.input_fd} - {None}:
            os.set_blocking(fd, False)  # type: ignore[arg-type]
        cancellation.on_ask(self.ask)

    @property
    def takes_input(self) -> bool:
        return self.status is None and self.input.is_open

    @property
    def open_outputs(self) -> frozenset[int]:
        """Descriptors whose other side somebody may still write to."""
        return frozenset(self._open)

    # --- stopping

    def signal(self, number: signal.Signals) -> None:
        """Signal the command's process group, and what runs in the terminal's foreground. Stopped ones wake up."""
        with self._reaping:
            signal_groups(self._groups(), number)

    def has_group(self) -> bool:
        """Whether anything is alive in these groups, or in those that have been asked to go."""
        with self._reaping:
            return any_alive(self._groups() | self._asked_groups)

    def end_group(self, grace_s: float) -> None:
        """Wait until nothing is left in these groups, and send SIGKILL to what is after `grace_s`."""
        deadline = time.monotonic() + grace_s
        while self.has_group():
            if time.monotonic() >= deadline:
                self.signal(signal.SIGKILL)
                return
            time.sleep(_LOOK_S)

    def _groups(self) -> set[int]:
        groups = self.spawned.groups()
        # A number is given to no new process while a group has it: if there is one, the command's group is gone.
        if self._ended is not None and Path(f"/proc/{self.spawned.pid}").exists():
            groups.discard(self.spawned.pid)
        return groups

    def ask(self) -> None:
        """Ask it to go, once. Never waits.

        While the job is being stopped the guardian signals, which knows for each process whether it was already.
        """
        if self.listening and not self._asked:
            self._asked = True
            if not self._cancellation.requested:
                self.signal(signal.SIGTERM)
            elif self.status is None:
                self._asked_groups = groups_below(self.spawned.pid)
                self._cancellation.stop_command(self.spawned.pid)

    def leave(self) -> None:
        """What goes on is background work, and for the task's code no longer: it is not asked for by itself."""
        self._cancellation.forget(self.ask)
        self.input.detach()

    def close(self) -> None:
        """Give back the descriptors. Call once it has ended. Again: nothing happens."""
        self.leave()
        self._open.clear()
        self.spawned.close()
        if self._exit_fd is not None:
            os.close(self._exit_fd)
            self._exit_fd = None

    # --- the loop

    def step(self, deadline: float | None) -> None:
        """Wait for whatever comes first, and take it: output, room for input, input, the ask, the end.

        Raises TimeoutError at `deadline` (monotonic seconds).
        """
        for fd, events in self._poller().poll(self._timeout_ms(deadline)):
            if fd in self._open:
                # In a terminal this may be room for input only; a read then finds nothing, which costs nothing.
                self.take_output(fd)
            elif fd == self.spawned.input_fd and events & select.POLLERR:
                self.input.close()
            elif fd == self.input.waits_for_clients_at:
                self.input.take()
            elif fd == self._cancellation.wake_fd:
                self._noticed = self._cancellation.notice()
                self.ask()
        self.input.send()
        if self.has_exited():
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
            # A pipe tells even unasked that nobody reads it; a terminal would tell so again and again.
            if room or self.spawned.terminal_fd is None:
                poller.register(self.spawned.input_fd, room | both)
            if (clients := self.input.waits_for_clients_at) is not None:
                poller.register(clients, select.POLLIN)
        if self.listening and not self._noticed:
            poller.register(self._cancellation.wake_fd, select.POLLIN)
        if self._exit_fd is not None and self._exited_at is None:
            poller.register(self._exit_fd, select.POLLIN)
        return poller

    def _timeout_ms(self, deadline: float | None) -> float | None:
        if self._exited_at is not None:
            return (
                _LOOK_S if self._is_being_stopped() else max(0.0, self._exited_at + LINGER_S - time.monotonic())
            ) * 1000
        timeout_ms = None if deadline is None else min(max(0.0, (deadline - time.monotonic()) * 1000), _LONGEST_POLL_MS)
        if self._exit_fd is None:  # macOS: the exit is looked for at intervals
            return min(_POLL_WITHOUT_PIDFD_S * 1000, timeout_ms or math.inf)
        return timeout_ms

    def take_output(self, fd: int) -> bool:
        """What one read gives. False at the end of the stream."""
        stream, decoder = self._decoders[fd]
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:  # EIO: every holder of the terminal's other side has closed it
            data = b""
        if text := decoder.feed(data, final=not data):
            self._on_text(stream, text)
        if not data:
            self._open.discard(fd)
        return bool(data)

    def has_exited(self) -> bool:
        """Whether the command itself has ended. Its output may go on."""
        if self._exited_at is None and self._is_to_be_reaped():
            self._exited_at = time.monotonic()
            self._reap()
        return self._exited_at is not None

    def _is_to_be_reaped(self) -> bool:
        if self._exit_fd is not None:
            return bool(select.select([self._exit_fd], [], [], 0)[0])
        return os.waitid(os.P_PID, self.spawned.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _reap(self) -> None:
        # Shielded: a pid that was reaped without our knowing it might be signalled when it is somebody else's.
        with self._cancellation.shielded(), self._reaping:
            _, status = os.waitpid(self.spawned.pid, 0)
            self.spawned.reaped(status)
            self._ended = ExitStatus.of(status)

    def _is_being_stopped(self) -> bool:
        return self._asked and self._cancellation.requested

    def _is_over(self) -> bool:
        """Whether to wait no longer for what the command has left."""
        if self._is_being_stopped():
            if time.monotonic() < self._look_at:
                return False
            if self.has_group():
                self._look_s = min(2 * self._look_s, _LONGEST_LOOK_S)
                self._look_at = time.monotonic() + self._look_s
                return False
        return not self._open or time.monotonic() >= (self._exited_at or 0.0) + LINGER_S

    def finish(self) -> None:
        """Wait no longer for output of a command that has exited: take what there is, and its status."""
        for fd in list(self._open):
            for _ in range(LAST_READS):
                if not select.select([fd], [], [], 0)[0] or not self.take_output(fd):
                    break
        self.status = self._ended
