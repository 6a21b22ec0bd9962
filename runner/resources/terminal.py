"""A command in a pseudo-terminal (or on pipes), read as it writes, and asked to stop when the job is.

On cancel the command's process group gets SIGTERM, so that a shell's `trap` runs; if it does not go, the job's
ladder ends it. EOF is never waited for: a background child may hold the terminal open for ever.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ptyprocess import PtyProcess

from runner.cancellation import Cancellation
from runner.errors import TaskFailed
from runner.reporting import READ_BYTES, Decoder, Stream

ROWS, COLUMNS = 24, 80
CLOSE_GRACE_S = 0.2
"""How long a command gets between SIGTERM and SIGKILL when its block ends before it does."""


class Terminal:
    """One running command, leader of its own session and process group."""

    def __init__(self, pid: int, streams: dict[int, Stream], owner: Any) -> None:
        self.pid = pid
        self.exit_status: int | None = None
        self._streams = {fd: (stream, Decoder()) for fd, stream in streams.items()}
        self._owner = owner  # keeps the library's object, and with it the descriptors, alive
        self._exit_fd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        self._cancellation: Cancellation | None = None
        self._emit: Callable[[Stream, str], None] | None = None
        for fd in streams:
            os.set_blocking(fd, False)

    @classmethod
    def start(cls, argv: Sequence[str], *, pty: bool, cwd: str | Path, env: dict[str, str] | None = None) -> Terminal:
        """Start `argv`. Raises TaskFailed, kind exited with the shell's 126 or 127, when it cannot be run."""
        environment = {**os.environ, "TERM": "xterm-256color" if pty else "dumb", **(env or {})}
        if not Path(cwd).is_dir():
            raise TaskFailed("load", f"cannot use cwd {str(cwd)!r}: no such directory")
        environment["PWD"] = str(cwd)
        try:
            return cls._start_pty(argv, cwd, environment) if pty else cls._start_pipes(argv, cwd, environment)
        except FileNotFoundError:
            raise TaskFailed("exited", f"cannot run {argv[0]!r}: command not found", exit_code=127) from None
        except OSError as exc:
            raise TaskFailed("exited", f"cannot run {argv[0]!r}: {exc.strerror}", exit_code=126) from None

    @classmethod
    def _start_pty(cls, argv: Sequence[str], cwd: str | Path, env: dict[str, str]) -> Terminal:
        process = PtyProcess.spawn(
            list(argv), cwd=str(cwd), env=env, dimensions=(ROWS, COLUMNS), preexec_fn=_restore_signals
        )
        return cls(process.pid, {process.fd: "terminal"}, process)

    @classmethod
    def _start_pipes(cls, argv: Sequence[str], cwd: str | Path, env: dict[str, str]) -> Terminal:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        return cls(process.pid, {process.stdout.fileno(): "stdout", process.stderr.fileno(): "stderr"}, process)

    def connect(self, cancellation: Cancellation, emit: Callable[[Stream, str], None]) -> None:
        self._cancellation = cancellation
        self._emit = emit

    def run(self) -> int:
        """Forward output until the command ends; its wait status. Raises JobCancelled after it went on cancel."""
        assert self._cancellation is not None
        wake_fd = self._cancellation.wake_fd
        poller = select.poll()
        for fd in (*self._streams, wake_fd):
            poller.register(fd, select.POLLIN)
        if self._exit_fd is not None:
            poller.register(self._exit_fd, select.POLLIN)
        open_fds = set(self._streams)
        while True:
            # Without a pidfd (macOS) the exit is looked for at intervals.
            for fd, _events in poller.poll(None if self._exit_fd is not None else 50):
                if fd == wake_fd:
                    poller.unregister(wake_fd)
                    self._cancellation.notice()
                    self.signal(signal.SIGTERM)
                elif fd in open_fds and not self._forward(fd):
                    open_fds.discard(fd)
                    poller.unregister(fd)
            if self._has_exited():
                break
        for fd in open_fds:
            self._drain(fd)
        status = self._reap()
        self._cancellation.raise_if_requested()
        return status

    def signal(self, number: signal.Signals) -> None:
        """Signal the command's process group, and what runs in the terminal's foreground. Stopped ones wake up."""
        if self.exit_status is not None:
            return  # its number may be somebody else's by now
        groups = {self.pid}
        for fd, (stream, _) in self._streams.items():
            if stream == "terminal":
                with contextlib.suppress(OSError):
                    groups.add(os.tcgetpgrp(fd))
        for group in groups - {0}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)
                os.killpg(group, signal.SIGCONT)

    def _forward(self, fd: int) -> bool:
        """Send what one read gives. False at the end of the stream."""
        stream, decoder = self._streams[fd]
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:  # EIO: every holder of the terminal's other side has closed it
            data = b""
        text = decoder.feed(data, final=not data)
        if text and self._emit is not None:
            self._emit(stream, text)
        return bool(data)

    def _drain(self, fd: int) -> None:
        # A background child may write for ever; what was in the buffer when the command ended is enough.
        for _ in range(64):
            if not select.select([fd], [], [], 0)[0] or not self._forward(fd):
                return

    def _has_exited(self) -> bool:
        if self._exit_fd is not None:
            return bool(select.select([self._exit_fd], [], [], 0)[0])
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _reap(self) -> int:
        _, self.exit_status = os.waitpid(self.pid, 0)
        # Both libraries would otherwise wait for, or signal, a pid that is no longer theirs.
        if isinstance(self._owner, PtyProcess):
            self._owner.terminated = True
        else:
            self._owner.returncode = os.waitstatus_to_exitcode(self.exit_status)
        return self.exit_status

    def close(self) -> None:
        """End the command if it still runs, and close the terminal."""
        if self.exit_status is None:
            self.signal(signal.SIGTERM)
            deadline = time.monotonic() + CLOSE_GRACE_S
            while not self._has_exited() and time.monotonic() < deadline:
                select.select([self._exit_fd] if self._exit_fd is not None else [], [], [], 0.02)
            if not self._has_exited():
                self.signal(signal.SIGKILL)
            self._reap()
        if isinstance(self._owner, PtyProcess):
            self._owner.fileobj.close()
            self._owner.closed = True
        else:
            self._owner.stdout.close()
            self._owner.stderr.close()
        if self._exit_fd is not None:
            os.close(self._exit_fd)


def _restore_signals() -> None:
    # Python ignores these; a command expects them to kill it, as in any shell.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
