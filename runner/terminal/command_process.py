"""The process of a command: its exit, signals to its process groups, and the request to stop."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from pathlib import Path

from runner.cancellation import Cancellation
from runner.terminal.exit_status import ExitStatus
from runner.terminal.groups import any_alive, groups_below, signal_groups
from runner.terminal.spawn import Spawned

CHECK_GROUP_S = 0.02
"""How often a process group is checked while it ends."""


class CommandProcess:
    """`request_stop` and `signal` may be called from any thread, the rest by one thread at a time."""

    def __init__(self, spawned: Spawned, cancellation: Cancellation) -> None:
        self._spawned = spawned
        self._cancellation = cancellation
        self.exit_fd = os.pidfd_open(spawned.pid) if hasattr(os, "pidfd_open") else None
        self.exited_at: float | None = None
        self.status: ExitStatus | None = None
        """The exit status, once the process has been reaped."""
        self.stops_with_job = not cancellation.requested
        """False for a command that is started during the clean-up: the cancel request came before the command."""
        self._stop_requested = False
        self._stopped_groups: frozenset[int] = frozenset()
        self._reaping = threading.Lock()
        cancellation.on_request(self.request_stop)

    def signal(self, number: signal.Signals) -> None:
        """Signal the command's process group and the terminal's foreground process group. Continue stopped ones."""
        with self._reaping:
            signal_groups(self._groups(), number)

    def any_alive(self) -> bool:
        """Return whether anything is alive in these groups, or in those that were asked to stop."""
        with self._reaping:
            return any_alive(self._groups() | self._stopped_groups)

    def kill_after(self, grace_s: float) -> None:
        """Wait until nothing is alive in these groups; send SIGKILL to what is left after `grace_s`."""
        deadline = time.monotonic() + grace_s
        while self.any_alive():
            if time.monotonic() >= deadline:
                self.signal(signal.SIGKILL)
                return
            time.sleep(CHECK_GROUP_S)

    def _groups(self) -> set[int]:
        groups = self._spawned.groups()
        # The kernel gives no new process the number of an existing group. So if there is a process with the number of
        # the reaped command, the command's group has ended.
        if self.status is not None and Path(f"/proc/{self._spawned.pid}").exists():
            groups.discard(self._spawned.pid)
        return groups

    def request_stop(self) -> None:
        """Ask the command to stop, once. This never waits.

        While the job is being stopped the guardian sends the signal: it knows which processes have had it already.
        """
        if self.stops_with_job and not self._stop_requested:
            self._stop_requested = True
            if not self._cancellation.requested:
                self.signal(signal.SIGTERM)
            elif self.status is None:
                self._stopped_groups = groups_below(self._spawned.pid)
                self._cancellation.stop_command(self._spawned.pid)

    @property
    def is_being_stopped(self) -> bool:
        """Whether the command was asked to stop because the job is being cancelled."""
        return self._stop_requested and self._cancellation.requested

    def has_exited(self) -> bool:
        """Return whether the command itself has ended, and reap it. Its output may continue."""
        if self.exited_at is None and self._is_waitable():
            self.exited_at = time.monotonic()
            self._reap()
        return self.exited_at is not None

    def _is_waitable(self) -> bool:
        if self.exit_fd is not None:
            return bool(select.select([self.exit_fd], [], [], 0)[0])
        return os.waitid(os.P_PID, self._spawned.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _reap(self) -> None:
        # Shielded: without a record of the reaping, the pid could be signalled when it is another process's.
        with self._cancellation.shielded(), self._reaping:
            _, status = os.waitpid(self._spawned.pid, 0)
            self._spawned.reaped(status)
            self.status = ExitStatus.of(status)

    def detach(self) -> None:
        """Stop receiving the job's cancel request."""
        self._cancellation.remove_listener(self.request_stop)

    def close(self) -> None:
        self.detach()
        if self.exit_fd is not None:
            os.close(self.exit_fd)
            self.exit_fd = None
