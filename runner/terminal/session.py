"""Starting a command in a terminal that it controls, without making it the leader of the terminal's session.

When the leader of a terminal's session ends, the kernel hangs up the foreground process group (SIGHUP): in
`PROGRAM; echo done` the shell would take PROGRAM with it, however politely both were asked. So the leader is a small
process that holds the session for as long as the terminal is used, and the command is its sibling:

    runner
    ├─ holder      leads the session, ignores the signals of a terminal; /bin/sh that waits for the end of a pipe
    └─ command     in that session, leads the foreground process group

They are siblings (CLONE_PARENT, clone(2)) so that the runner itself waits for the command. A program image of its own
keeps the holder from counting as a second copy of the runner's memory.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from runner.posix import close_all_but, fork_sibling

HOLDER = "deadstop-terminal"
"""As `ps` shows it."""
_HOLD = 'read -r _; while kill -s 0 -- "-$1" 2>/dev/null; do sleep 0.05 || sleep 1; done'
"""Until the runner has ended, and the command's process group after it."""
_IGNORED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
_FAILED = 126


@dataclass(slots=True)
class Holder:
    """The leader of a terminal's session. `lifeline_fd` is a pipe whose end means that the runner has ended."""

    pid: int
    lifeline_fd: int

    def end(self) -> None:
        """End the session: what is left in its foreground is hung up."""
        os.close(self.lifeline_fd)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@dataclass(frozen=True, slots=True)
class Program:
    """What to execute: `path` with `argv` and `env` in the directory `cwd`. `keep` are descriptors to pass on."""

    path: str
    argv: Sequence[str]
    env: dict[str, str]
    cwd: str
    keep: tuple[int, ...] = ()


def start_in_session(program: Program, slave: int) -> tuple[int, Holder | None]:
    """Start `program` in a new session that the terminal `slave` controls: its pid, and the session's holder.

    No holder where the system cannot make siblings: then the command leads the session itself. Raises OSError when
    the program cannot be executed. The caller holds back the signals that the runner has handlers for.
    """
    word_read, word_write = os.pipe2(os.O_CLOEXEC)
    lifeline_read, lifeline_write = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.fork()
        if child == 0:
            _lead(program, slave, lifeline_read, word_write)
    except BaseException:
        os.close(lifeline_write)
        os.close(word_read)
        raise
    finally:
        os.close(word_write)
        os.close(lifeline_read)
    with os.fdopen(word_read) as read:
        words = {name: int(number) for name, _, number in (line.partition(" ") for line in read)}
    command = words.get("command", 0) or child
    if "errno" not in words and "command" in words:
        if command != child:
            return command, Holder(child, lifeline_write)
        os.close(lifeline_write)
        return child, None
    os.close(lifeline_write)
    for pid in {command, child}:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    number = words.get("errno", errno.EIO)
    raise OSError(number, os.strerror(number))


# --- between fork and exec


def _lead(program: Program, slave: int, lifeline_fd: int, word_fd: int) -> NoReturn:
    try:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        sibling = fork_sibling()
        if sibling is not None and sibling > 0:
            os.write(word_fd, b"command %d\n" % sibling)
            _hold(sibling, lifeline_fd)
        if sibling is None:
            os.write(word_fd, b"command 0\n")
        _become_command(program, slave, word_fd)
    except OSError as exc:
        os.write(word_fd, b"errno %d\n" % (exc.errno or errno.EIO))
    finally:
        os._exit(_FAILED)


def _hold(command: int, lifeline_fd: int) -> NoReturn:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    null = os.open(os.devnull, os.O_RDWR)
    for source, target in ((lifeline_fd, 0), (null, 1), (null, 2)):
        os.dup2(source, target)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.execv("/bin/sh", [HOLDER, "-c", _HOLD, HOLDER, str(command)])  # noqa: S606


def _become_command(program: Program, slave: int, word_fd: int) -> NoReturn:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a process in the background takes the foreground
    os.setpgid(0, 0)
    os.tcsetpgrp(slave, os.getpgid(0))
    restore_signals()
    os.chdir(program.cwd)
    for target in range(3):
        os.dup2(slave, target)
    close_all_but(word_fd, *program.keep)
    for fd in program.keep:
        os.set_inheritable(fd, True)
    os.execve(program.path, list(program.argv), program.env)  # noqa: S606


def restore_signals() -> None:
    """In the child: Python ignores some signals; a command expects them to end it, as in any shell."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGTTOU):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
