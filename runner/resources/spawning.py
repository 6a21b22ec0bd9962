"""Starting a command in a pseudo-terminal or on pipes, as a shell would: its own session, its signals restored."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ptyprocess import PtyProcess

from runner.errors import TaskFailed
from runner.reporting import Stream

Size = tuple[int, int]
"""Rows and columns."""
DEFAULT_SIZE: Size = (24, 80)
MAX_SIDE = 0xFFFF

_HELD = frozenset({signal.SIGTERM})


@dataclass(slots=True)
class Spawned:
    """A command that runs, leader of its own session and process group.

    `outputs` are descriptors to read; `input_fd` is where to write, None when its stdin is empty. In a terminal
    both are the same one. `owner` is the library's object, which holds the descriptors.
    """

    pid: int
    outputs: dict[int, Stream]
    input_fd: int | None
    owner: PtyProcess | subprocess.Popen[bytes]

    @property
    def terminal_fd(self) -> int | None:
        """Our side of the terminal; None on pipes."""
        return self.owner.fd if isinstance(self.owner, PtyProcess) and not self.owner.closed else None

    def close_input(self) -> None:
        """Nothing more can be written. On pipes that is the end of the command's stdin."""
        self.input_fd = None
        if isinstance(self.owner, subprocess.Popen) and self.owner.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.owner.stdin.close()

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal a new size, which its foreground learns by SIGWINCH. Pipes have none.

        Raises ValueError for what is no size.
        """
        check_size((rows, columns))
        if self.terminal_fd is not None:
            fcntl.ioctl(self.terminal_fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def reaped(self, status: int) -> None:
        """Tell the library, which would otherwise wait for, or signal, a pid that is no longer its own."""
        if isinstance(self.owner, PtyProcess):
            self.owner.terminated = True
        else:
            self.owner.returncode = os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        self.close_input()
        if isinstance(self.owner, PtyProcess):
            self.owner.fileobj.close()
            self.owner.closed = True
            return
        for stream in (self.owner.stdout, self.owner.stderr):
            if stream is not None:
                stream.close()


def check_size(size: Size) -> None:
    """Raises ValueError unless both numbers are 0 to 65535."""
    if not all(isinstance(number, int) and 0 <= number <= MAX_SIDE for number in size):
        raise ValueError(f"cannot give a terminal the size {size}: rows and columns are 0 to {MAX_SIDE}")


def shell_words(command: str) -> list[str]:
    """The argument list that has a shell run `command`: bash, or sh where there is none."""
    return ["/bin/bash" if Path("/bin/bash").exists() else "/bin/sh", "-c", command]


def spawn(
    argv: Sequence[str],
    *,
    pty: bool,
    cwd: str | Path,
    env: Mapping[str, str] | None,
    size: Size,
    open_stdin: bool,
) -> Spawned:
    """Start `argv`. Raises TaskFailed, kind exited with the shell's 126 or 127, when it cannot be run.

    Raises ValueError or TypeError for what is no command, environment or size.
    """
    environment = {**os.environ, "TERM": "xterm-256color" if pty else "dumb", **(env or {}), "PWD": str(cwd)}
    _check(argv, environment)
    check_size(size)
    if not Path(cwd).is_dir():
        raise TaskFailed("load", f"cannot use cwd {str(cwd)!r}: no such directory")
    try:
        program = _find(argv[0], cwd, environment)
        if pty:
            return _in_terminal([program, *argv[1:]], cwd, environment, size)
        return _on_pipes(argv, program, cwd, environment, open_stdin=open_stdin)
    except FileNotFoundError:
        raise TaskFailed("exited", f"cannot run {argv[0]!r}: command not found", exit_code=127) from None
    except OSError as exc:
        why = exc.strerror or str(exc)
        raise TaskFailed("exited", f"cannot run {argv[0]!r}: {why}", exit_code=126) from None


def _check(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """What execve(2) cannot take: after the fork it would be too late to say so."""
    if not argv:
        raise ValueError("cannot run a command without words")
    for text in (*argv, *env, *env.values()):
        if b"\0" in os.fsencode(text):
            raise ValueError(f"cannot run {argv[0]!r}: there is a NUL character in {text[:80]!r}")
    for name in env:
        if not name or "=" in name:
            raise ValueError(f"cannot run {argv[0]!r}: no variable can have the name {name!r}")


def _find(name: str, cwd: str | Path, env: Mapping[str, str]) -> str:
    """The program that `name` means in the command's own directory and PATH, not in ours."""
    if "/" in name:
        return str(Path(cwd, name))
    found = shutil.which(name, path=env.get("PATH", os.defpath))
    if found is None:
        raise FileNotFoundError(name)
    return str(Path(cwd, found))


def _in_terminal(argv: list[str], cwd: str | Path, env: dict[str, str], size: Size) -> Spawned:
    if not Path(argv[0]).exists():
        raise FileNotFoundError(argv[0])
    if not os.access(argv[0], os.X_OK) or Path(argv[0]).is_dir():
        # The library would say "not found" of this too, and a shell tells them apart.
        raise PermissionError(13, os.strerror(13))
    parent = os.getpid()
    with _terminate_held_back():
        try:
            process = PtyProcess.spawn(argv, cwd=str(cwd), env=env, dimensions=size, preexec_fn=_restore_signals)
        finally:
            if os.getpid() != parent:  # whatever fails between fork and exec: a copy of the task must not go on
                os._exit(126)
    os.set_inheritable(process.fd, False)
    return Spawned(process.pid, {process.fd: "terminal"}, process.fd, process)


def _on_pipes(argv: Sequence[str], program: str, cwd: str | Path, env: dict[str, str], *, open_stdin: bool) -> Spawned:
    process = subprocess.Popen(
        list(argv),
        executable=program,
        bufsize=0,
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE if open_stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    outputs: dict[int, Stream] = {process.stdout.fileno(): "stdout", process.stderr.fileno(): "stderr"}
    return Spawned(process.pid, outputs, None if process.stdin is None else process.stdin.fileno(), process)


@contextlib.contextmanager
def _terminate_held_back() -> Iterator[None]:
    # Between fork and exec the child still has our handler, which would unwind a copy of this stack in it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _restore_signals() -> None:
    # Runs in the child. Python ignores the first two; a command expects them to kill it, as in any shell.
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
