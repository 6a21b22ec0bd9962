"""Start a command in a terminal that it controls, without making it the leader of the terminal's session.

When the leader of a terminal's session ends, the kernel hangs up the foreground process group (SIGHUP): in `PROGRAM;
echo done` the shell would end PROGRAM with it, even if both were asked politely to stop. So the leader is a small
process that holds the session for as long as the terminal is used, and the command is its sibling:

    runner
    ├─ holder      leads the session, ignores the signals of a terminal; /bin/sh that waits for the end of a pipe
    └─ command     in that session, leads the foreground process group

They are siblings (CLONE_PARENT, clone(2)), so that the runner itself waits for the command. The holder executes a
program of its own, so that it does not count as a second copy of the runner's memory.
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
"""The name that `ps` shows."""
_HOLD = 'read -r _; while kill -s 0 -- "-$1" 2>/dev/null; do sleep 0.05 || sleep 1; done'
"""The script waits until the runner has ended, and after it the command's process group."""
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
        """End the session: the kernel hangs up its foreground process group."""
        os.close(self.lifeline_fd)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@dataclass(frozen=True, slots=True)
class Program:
    """A program to execute: `path` with `argv` and `env` in the directory `cwd`. `keep` are descriptors to pass on."""

    path: str
    argv: Sequence[str]
    env: dict[str, str]
    cwd: str
    keep: tuple[int, ...] = ()


def start_in_session(program: Program, slave: int) -> tuple[int, Holder | None]:
    """Start `program` in a new session that the terminal `slave` controls. Return its pid and the session's holder.

    There is no holder where the system cannot fork siblings: then the command leads the session itself. Raise OSError
    if the program cannot be executed. The caller blocks the signals that the runner has handlers for.
    """
    report_read, report_write = os.pipe2(os.O_CLOEXEC)
    lifeline_read, lifeline_write = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.fork()
        if child == 0:
            _lead(program, slave, lifeline_read, report_write)
    except BaseException:
        os.close(lifeline_write)
        os.close(report_read)
        raise
    finally:
        os.close(report_write)
        os.close(lifeline_read)
    with os.fdopen(report_read) as lines:
        report = {name: int(number) for name, _, number in (line.partition(" ") for line in lines)}
    command = report.get("command", 0) or child
    if "errno" not in report and "command" in report:
        if command != child:
            return command, Holder(child, lifeline_write)
        os.close(lifeline_write)
        return child, None
    os.close(lifeline_write)
    for pid in {command, child}:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    number = report.get("errno", errno.EIO)
    raise OSError(number, os.strerror(number))


# --- between fork and exec


def _lead(program: Program, slave: int, lifeline_fd: int, report_fd: int) -> NoReturn:
    try:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        sibling = fork_sibling()
        if sibling is not None and sibling > 0:
            os.write(report_fd, b"command %d\n" % sibling)
            _hold(sibling, lifeline_fd)
        if sibling is None:
            os.write(report_fd, b"command 0\n")
        _become_command(program, slave, report_fd)
    except OSError as exc:
        os.write(report_fd, b"errno %d\n" % (exc.errno or errno.EIO))
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


def _become_command(program: Program, slave: int, report_fd: int) -> NoReturn:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a process in the background takes the foreground
    os.setpgid(0, 0)
    os.tcsetpgrp(slave, os.getpgid(0))
    restore_signals()
    os.chdir(program.cwd)
    for target in range(3):
        os.dup2(slave, target)
    close_all_but(report_fd, *program.keep)
    for fd in program.keep:
        os.set_inheritable(fd, True)
    os.execve(program.path, list(program.argv), program.env)  # noqa: S606


def restore_signals() -> None:
    """Restore, in the child, the default actions of signals that Python ignores: a command expects them, as in any
    shell.
    """
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGTTOU):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
