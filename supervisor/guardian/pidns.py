"""A pid namespace for the job, and its init: when init ends, the kernel has ended everything in it.

    guardian            unshares USER and PID, and stays outside: its /proc, and with it its sweeps, are the host's
    └─ init             pid 1 inside; unshares NS, mounts a /proc; reaps everything; dies with the guardian
       └─ runner        pid 2 inside

A process in the namespace cannot leave it, cannot name a process outside, and cannot end init: signals from inside that
init has no handler for do not reach it. So the guardian cannot be signalled, and when it is killed, together with the
server or not, init is killed too (PDEATHSIG) and everything with it. See pid_namespaces(7).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from runner import posix
from runner.posix import close_all_but
from supervisor.guardian import namespaces, user_namespace
from supervisor.guardian.proc import children
from supervisor.guardian.sweep import reap_children

START_TIMEOUT_S = 1.0
"""How long init may take to fork the runner; it needs a few milliseconds."""
_FORKED = "forked"
_FAILED = "failed"
_ENDED = "ended"
_EX_SOFTWARE = 70


class NamespaceFailed(Exception):
    """Raised when a namespace cannot be created, before there is a job. The message says why."""


@dataclass(slots=True)
class Namespace:
    """The guardian's side. Pids are the host's. `lifeline_fd` is a pipe whose end means that the guardian has ended.

    `mounts_fd` keeps the mount namespace. The kernel needs some ten milliseconds to destroy one, does so one by one,
    and init would not be reaped before. So it happens when the guardian ends, which has reported by then.
    """

    init_pid: int
    runner_pid: int
    report_fd: int
    lifeline_fd: int
    mounts_fd: int

    def runner_status(self, reaped: dict[int, int]) -> int | None:
        """Return the runner's wait status, or None while it runs. `reaped` maps the pids just reaped to their statuses.

        `report_fd` becomes readable when the runner has ended. Init reports its status. If init was killed, the runner
        was killed with it, and init's own status stands for both.
        """
        try:
            kind, _, status = os.read(self.report_fd, 64).decode().partition(" ")
        except BlockingIOError:
            return None
        return int(status) if kind == _ENDED else reaped.get(self.init_pid)


def launch(run: Callable[[], NoReturn]) -> Namespace:
    """Create the namespace; `run` is called in its second process. Raise NamespaceFailed.

    For a process without threads, once: afterwards it lives in a user namespace of its own and cannot fork again.
    """
    try:
        user_namespace.unshare_user_and_pid()
    except OSError as exc:
        raise NamespaceFailed(exc.strerror) from exc
    report_read, report_write = os.pipe2(os.O_CLOEXEC)
    lifeline_read, lifeline_write = os.pipe2(os.O_CLOEXEC)
    mounts_read, mounts_write = socket.socketpair()
    init_pid = os.fork()
    if init_pid == 0:
        os.close(report_read)
        os.close(lifeline_write)
        _init(run, report_write, lifeline_read, mounts_write)
    os.close(report_write)
    os.close(lifeline_read)
    mounts_write.close()
    try:
        _wait_for_fork(report_read)
        (runner_pid,) = children(init_pid)
        with mounts_read:
            _, (mounts_fd,), _, _ = socket.recv_fds(mounts_read, 1, 1)
    except (NamespaceFailed, ValueError, OSError) as exc:
        os.kill(init_pid, signal.SIGKILL)
        os.waitpid(init_pid, 0)
        os.close(report_read)
        os.close(lifeline_write)
        raise NamespaceFailed("its runner ended at once" if isinstance(exc, ValueError) else str(exc)) from exc
    os.set_blocking(report_read, False)
    return Namespace(init_pid, runner_pid, report_read, lifeline_write, mounts_fd)


def _wait_for_fork(report_fd: int) -> None:
    if not select.select([report_fd], [], [], START_TIMEOUT_S)[0]:
        raise NamespaceFailed(f"its init did not start a runner within {START_TIMEOUT_S} s")
    kind, _, reason = _read_line(report_fd).partition(" ")
    if kind != _FORKED:
        raise NamespaceFailed(reason or "its init was killed")


def _read_line(fd: int) -> str:
    # Byte by byte, because the next line may already be in the pipe.
    line = b""
    while (byte := os.read(fd, 1)) not in (b"", b"\n"):
        line += byte
    return line.decode(errors="replace")


# --- in the namespace: init


def _init(run: Callable[[], NoReturn], report_fd: int, lifeline_fd: int, mounts: socket.socket) -> NoReturn:
    """Run pid 1. It has no handler for any signal, so none from inside reaches it."""
    status = _EX_SOFTWARE
    try:
        posix.set_parent_death_signal(signal.SIGKILL)
        _leave_if_orphaned(lifeline_fd)
        os.setsid()
        posix.set_name("deadstop-init")
        _own_proc()
        with mounts:
            socket.send_fds(mounts, [b"!"], [os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)])
        runner_pid = os.fork()
        if runner_pid == 0:
            if os.geteuid() != 0:
                namespaces.drop_capabilities()  # the creator of a user namespace has all of them in it
            run()
        _keep_only(report_fd, lifeline_fd)
        os.write(report_fd, f"{_FORKED}\n".encode())
        _reap_all(runner_pid, report_fd)
        status = 0
    except OSError as exc:
        with contextlib.suppress(BrokenPipeError):
            os.write(report_fd, f"{_FAILED} {exc.strerror or exc}\n".encode())
    finally:
        os._exit(status)


def _leave_if_orphaned(lifeline_fd: int) -> None:
    # Comparing getppid() does not work here: a parent in another pid namespace is 0, alive or dead.
    if select.select([lifeline_fd], [], [], 0)[0]:
        os._exit(0)


def _own_proc() -> None:
    namespaces.unshare(namespaces.NEWNS, "make a mount namespace")
    namespaces.make_mounts_private()
    namespaces.mount_proc()
    found = os.readlink("/proc/self")  # noqa: PTH115 - it must be read now
    if found != str(os.getpid()):
        raise OSError(0, f"cannot use the mounted /proc: it calls this process {found}")


def _keep_only(*keep: int) -> None:
    # The supervisor waits for EOF on the runner's pipes and on the guardian's control socket.
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    close_all_but(*keep)


def _reap_all(runner_pid: int, report_fd: int) -> None:
    """Reap until nothing is left. Report the runner's end after everything that ended with it has been reaped."""
    runner_status: int | None = None
    while runner_status is None:
        pid, status = os.waitpid(-1, 0)
        if pid == runner_pid:
            runner_status = status
    reap_children()
    os.write(report_fd, f"{_ENDED} {runner_status}\n".encode())
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


# --- trying it


def probe() -> str | None:
    """Create a namespace once, with a runner that checks it and ends. Return None, or the reason why it is impossible.

    For a process of its own: see `launch`.
    """
    posix.set_dumpable(False)
    go_read, go_write = os.pipe2(os.O_CLOEXEC)
    try:
        namespace = launch(lambda: _look_around(go_read))
    except NamespaceFailed as exc:
        return str(exc)
    os.write(go_write, b"!")
    _, status = os.waitpid(namespace.init_pid, 0)
    found = namespace.runner_status({namespace.init_pid: status})
    return None if found == 0 else f"the process in it saw other processes, and ended with wait status {found}"


def _look_around(go_fd: int) -> NoReturn:
    """Take the place of a runner, which waits for an order: its /proc is its namespace's, and it cannot end init."""
    os.read(go_fd, 1)
    alone = [name for name in os.listdir("/proc") if name.isdigit()] == ["1", str(os.getpid())]
    os.kill(1, signal.SIGKILL)
    os._exit(0 if alone else 1)
