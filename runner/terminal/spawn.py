"""Start a command in a pseudo-terminal or on pipes, as a shell would: in its own process group, with default signals.

A command with an open stdin controls its terminal (`session.py`). Any other command has an empty stdin and no
controlling terminal, so that `read` and `read < /dev/tty` end at once instead of waiting for a person. It still writes
to a terminal, but cannot read from it through its stdout or stderr. It stays in the runner's session and does not lead
it, because the leader of a session would get the first terminal that it opens by name, such as /dev/stdout, as its
controlling one.
"""

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

from runner.errors import TaskFailed
from runner.reporter import Stream
from runner.terminal.script import without_long_script
from runner.terminal.session import Holder, Program, start_in_session

Size = tuple[int, int]
"""A pair of rows and columns."""
DEFAULT_SIZE: Size = (24, 80)
MAX_SIDE = 0xFFFF

_NO_PAGER = {"PAGER": "cat", "GIT_PAGER": "cat"}
"""For a command that has a terminal and no keyboard: a pager opens the terminal by name, and would wait for keys."""
_BLOCKED = frozenset({signal.SIGTERM})


@dataclass(slots=True)
class Spawned:
    """A running command, the leader of its own process group.

    `outputs` are descriptors to read; `input_fd` is the descriptor to write to, None if stdin is empty. `terminal_fd`
    is our side of the terminal, None on pipes. `process` owns the pipes, `holder` the session of a terminal that the
    command controls.
    """

    pid: int
    outputs: dict[int, Stream]
    input_fd: int | None
    terminal_fd: int | None = None
    process: subprocess.Popen[bytes] | None = None
    holder: Holder | None = None

    def close_input(self) -> None:
        """Close the input. On pipes that is the end of the command's stdin."""
        self.input_fd = None
        if self.process is not None and self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal, which its foreground process group learns by SIGWINCH. Pipes have no size.

        Raise ValueError if it is not a size.
        """
        check_size((rows, columns))
        if self.terminal_fd is not None:
            _set_size(self.terminal_fd, (rows, columns))

    def groups(self) -> set[int]:
        """Return the command's process group and the terminal's foreground process group."""
        groups = {self.pid}
        if self.terminal_fd is not None:
            with contextlib.suppress(OSError):  # the terminal belongs to no session (any more)
                groups.add(os.tcgetpgrp(self.terminal_fd))
        return groups - {0}

    def reaped(self, status: int) -> None:
        """Tell the subprocess module, which would otherwise wait for or signal a pid that may be another process's."""
        if self.process is not None:
            self.process.returncode = os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """Close the descriptors, and end the session of a terminal. Further calls do nothing."""
        self.close_input()
        if self.holder is not None:
            self.holder.end()
            self.holder = None
        if self.terminal_fd is not None:
            os.close(self.terminal_fd)
            self.terminal_fd = None
        if self.process is not None:
            for stream in (self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()


def check_size(size: Size) -> None:
    """Raise ValueError unless both numbers are 0 to 65535."""
    if not all(isinstance(number, int) and 0 <= number <= MAX_SIDE for number in size):
        raise ValueError(f"cannot give a terminal the size {size}: rows and columns are 0 to {MAX_SIDE}")


def spawn(
    argv: Sequence[str],
    *,
    pty: bool,
    cwd: str | Path,
    env: Mapping[str, str] | None,
    size: Size,
    open_stdin: bool,
) -> Spawned:
    """Start `argv`. With `open_stdin` the command can be typed into.

    Raise TaskFailed (kind exited, with the shell's code 126 or 127) if it cannot be executed, and ValueError or
    TypeError if the command, environment or size is invalid.
    """
    no_pager = _NO_PAGER if pty and not open_stdin else {}
    environment = {
        **no_pager,
        **os.environ,
        "TERM": "xterm-256color" if pty else "dumb",
        **(env or {}),
        "PWD": str(cwd),
    }
    _check(argv, environment)
    check_size(size)
    if not Path(cwd).is_dir():
        raise TaskFailed("load", f"cannot use cwd {str(cwd)!r}: no such directory")
    try:
        path = _find(argv[0], cwd, environment)
        with without_long_script(argv) as (words, keep):
            program = Program(path, words, environment, str(cwd), keep)
            if not pty:
                return _on_pipes(program, open_stdin=open_stdin)
            return _in_terminal(program, size) if open_stdin else _writing_to_terminal(program, size)
    except FileNotFoundError:
        raise TaskFailed("exited", f"cannot run {argv[0]!r}: command not found", exit_code=127) from None
    except OSError as exc:
        why = exc.strerror or str(exc)
        raise TaskFailed("exited", f"cannot run {argv[0]!r}: {why}", exit_code=126) from None


def _check(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Raise ValueError for what execve(2) cannot take: after the fork it would be too late to report it."""
    if not argv:
        raise ValueError("cannot run a command without words")
    for text in (*argv, *env, *env.values()):
        if b"\0" in os.fsencode(text):
            raise ValueError(f"cannot run {argv[0]!r}: there is a NUL character in {text[:80]!r}")
    for name in env:
        if not name or "=" in name:
            raise ValueError(f"cannot run {argv[0]!r}: no variable can have the name {name!r}")


def _find(name: str, cwd: str | Path, env: Mapping[str, str]) -> str:
    """Look up `name` in the command's own directory and PATH, not in ours."""
    if "/" in name:
        return str(Path(cwd, name))
    found = shutil.which(name, path=env.get("PATH", os.defpath))
    if found is None:
        raise FileNotFoundError(name)
    return str(Path(cwd, found))


def _in_terminal(program: Program, size: Size) -> Spawned:
    with _new_terminal(size) as (master, slave), _sigterm_blocked():
        pid, holder = start_in_session(program, slave)
        return Spawned(pid, {master: "terminal"}, master, terminal_fd=master, holder=holder)


def _writing_to_terminal(program: Program, size: Size) -> Spawned:
    with _new_terminal(size) as (master, slave), _for_writing(slave) as output:
        process = _popen(program, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        return Spawned(process.pid, {master: "terminal"}, None, terminal_fd=master, process=process)


def _on_pipes(program: Program, *, open_stdin: bool) -> Spawned:
    stdin = subprocess.PIPE if open_stdin else subprocess.DEVNULL
    process = _popen(program, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    outputs: dict[int, Stream] = {process.stdout.fileno(): "stdout", process.stderr.fileno(): "stderr"}
    return Spawned(process.pid, outputs, None if process.stdin is None else process.stdin.fileno(), process=process)


def _popen(program: Program, *, stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(program.argv),
        executable=program.path,
        bufsize=0,
        cwd=program.cwd,
        env=program.env,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        process_group=0,
        pass_fds=program.keep,
    )


@contextlib.contextmanager
def _new_terminal(size: Size) -> Iterator[tuple[int, int]]:
    """Open both sides of a new terminal. After the block only our side is open; if the block raises, neither is."""
    master, slave = os.openpty()
    try:
        _set_size(master, size)
        yield master, slave
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)


@contextlib.contextmanager
def _for_writing(slave: int) -> Iterator[int]:
    """Open the command's side once more, not for reading: a pager that has no /dev/tty reads its keys from stderr."""
    output = os.open(os.ttyname(slave), os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        yield output
    finally:
        os.close(output)


def _set_size(fd: int, size: Size) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))


@contextlib.contextmanager
def _sigterm_blocked() -> Iterator[None]:
    # Between fork and exec the child still has our handler, which would unwind a copy of this stack in it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
