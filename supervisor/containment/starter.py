"""Starting attempt sets: one thread, one at a time, each start bounded.

`Process.start()` blocks for ever when the forkserver is stopped, so it never runs on the event loop, and past
its bound the forkserver is killed, which makes the call fail; the next one finds a new forkserver.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # its exit handler must be registered before ours, so that ours runs first
import os
import queue
import signal
import socket
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event as SharedEvent

import structlog

from supervisor.containment import environment, guardian, server_tracker
from supervisor.containment.backstop import reap
from supervisor.containment.cgroup_tree import CgroupTree
from supervisor.containment.level import Level, Plan
from supervisor.posix import descriptors
from supervisor.posix.means import AVAILABLE, Means
from supervisor.posix.pidfd import ignore_missing
from supervisor.posix.proc import read_stat

log = structlog.get_logger()

START_BOUND_S = 2.0
RETIRE_BOUND_S = 0.1
CLOSE_BOUND_S = 0.5
PRELOAD = [
    "supervisor.containment.guardian",
    "runner.tasks.shell",
    "runner.tasks.agent",
    "runner.tasks.browse",
    "runner.tasks.demo",
]


class StartFailed(Exception):
    """A process could not be started within the bound. Met by the pool, which tries again."""


@dataclass(slots=True, eq=False)
class StartedSet:
    """{Event, guardian, runner}, not yet heard of. The Event was made first: a cause can always be told.

    `event` is None once the process has ended: it is five objects in /dev/shm, and jobs that are remembered remember
    their sets for as long.
    """

    plan: Plan
    event: SharedEvent | None
    process: ForkServerProcess
    control: socket.socket
    channel: socket.socket
    stdout: Connection
    stderr: Connection
    stack: Connection

    def discard(self) -> None:
        """Nobody wants it any more: its guardian sees the end of the lifeline and goes."""
        for end in (self.control, self.channel, self.stdout, self.stderr, self.stack):
            end.close()


_lifelines: weakref.WeakSet[socket.socket] = weakref.WeakSet()


@atexit.register
def _cut_lifelines() -> None:
    # multiprocessing joins its children at exit, and a guardian ends when its control socket does: cut them first,
    # or the interpreter waits for processes that wait for it.
    for lifeline in list(_lifelines):
        try:
            lifeline.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue  # closed before


class Starter:
    """Owns the thread, and with it every call into multiprocessing."""

    def __init__(
        self,
        child_environment: dict[str, str],
        start_bound_s: float = START_BOUND_S,
        cgroups: CgroupTree | None = None,
        means: Means = AVAILABLE,
        open_files: descriptors.Limit | None = None,
    ) -> None:
        self._environment = child_environment
        self._open_files = open_files
        """What jobs are limited to; None: to what this process is."""
        self._cgroups = cgroups
        self._means = means
        self._start_bound_s = start_bound_s
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        self._retired: list[StartedSet] = []
        self._requests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="deadstop-starter", daemon=True)
        self._thread.start()

    def start_set(self, level: Level) -> Future[StartedSet]:
        """Ask for one set, contained at `level`. The future fails with StartFailed."""
        future: Future[StartedSet] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            started: StartedSet | None = None
            failure = ""
            try:
                started = self._start(level)
            except Exception as exc:
                failure = f"cannot start a process: {type(exc).__name__}: {exc}"
            if started is not None:
                future.set_result(started)
            else:
                # Made here, without a context: a traceback would keep multiprocessing's pipes open.
                future.set_exception(StartFailed(failure))

        self._requests.put(work)
        return future

    def retire(self, started: StartedSet) -> None:
        """Forget a process that has ended or soon will, so that multiprocessing does not keep it until exit.

        Its Event is kept until then: a child that is only just starting still has to find it.
        """

        def work() -> None:
            self._retired.append(started)
            self._collect(RETIRE_BOUND_S)

        self._requests.put(work)

    def _collect(self, bound_s: float) -> None:
        deadline = time.monotonic() + bound_s
        for started in list(self._retired):
            # The forkserver reports an exit a moment after it; a stopped one never does, and is tried again. All share
            # the bound, because starts wait behind this.
            started.process.join(timeout=max(0.0, deadline - time.monotonic()))
            if started.process.exitcode is not None and not _waits_for_us(started.process):
                started.process.close()
                self._give_back_event(started)
                self._retired.remove(started)
                if started.plan.leaf is not None and not started.plan.leaf.remove():
                    log.warning("cgroup_not_removed", path=started.plan.leaf.path)

    def _give_back_event(self, started: StartedSet) -> None:
        # That is told to the tracker. If it is dead it is replaced, and the new one must not have our environment.
        server_tracker.mend(self._environment)
        with environment.only(self._environment):
            started.event = None

    def close(self) -> None:
        """End the thread and the forkserver. Call when every guardian has ended. Bounded."""
        self._requests.put(None)
        self._thread.join(timeout=self._start_bound_s + 0.5)
        # A start that was under way may have asked for more since.
        while not self._requests.empty():
            work = self._requests.get()
            if work is not None:
                work()
        self._collect(CLOSE_BOUND_S)
        _end_forkserver()

    def _serve(self) -> None:
        while (work := self._requests.get()) is not None:
            work()

    def _start(self, level: Level) -> StartedSet:
        leaf = self._cgroups.new_leaf() if self._cgroups is not None and level.takes_cgroup else None
        try:
            return self._start_planned(Plan(level, leaf, self._means))
        except BaseException:
            if leaf is not None:
                leaf.remove()
            raise

    def _limit_children(self) -> None:
        if self._open_files is None:
            return
        forkserver.ensure_running()
        pid = forkserver_pid()
        assert pid is not None
        # If it is dead, or dies in between, the start that follows makes another one or fails.
        with suppress(ProcessLookupError):
            descriptors.limit_process(pid, self._open_files)

    def _start_planned(self, plan: Plan) -> StartedSet:
        server_tracker.mend(self._environment)
        with environment.only(self._environment), _masked_main():
            event = self._context.Event()
            control, guardian_control = socket.socketpair()
            channel, runner_channel = socket.socketpair()
            stdout, runner_stdout = self._context.Pipe(duplex=False)
            stderr, runner_stderr = self._context.Pipe(duplex=False)
            stack, runner_stack = self._context.Pipe(duplex=False)
            _lifelines.add(control)
            theirs = (guardian_control, runner_channel, runner_stdout, runner_stderr, runner_stack)
            process = self._context.Process(target=guardian.main, args=(plan, event, *theirs), daemon=False)
            watchdog = threading.Timer(self._start_bound_s, _kill_forkserver)
            watchdog.daemon = True
            watchdog.start()
            try:
                self._limit_children()
                process.start()
            except BaseException:
                for ours in (control, channel, stdout, stderr, stack):
                    ours.close()
                raise
            finally:
                watchdog.cancel()
                for end in theirs:
                    end.close()
        return StartedSet(plan, event, process, control, channel, stdout, stderr, stack)


def _waits_for_us(process: ForkServerProcess) -> bool:
    """Whether it is a zombie, or soon will be, that the forkserver can no longer reap because it died before."""
    pid = process.pid
    assert pid is not None
    reap(pid)
    stat = read_stat(pid)
    # A session of its own is how a guardian is told from whoever may have got the number since.
    return stat is not None and stat.sid == pid and stat.name == guardian.NAME


@contextmanager
def _masked_main() -> Iterator[None]:
    # Children would re-import the program that hosts us as `__mp_main__`, with all it imports and does.
    real = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = real


def forkserver_pid() -> int | None:
    """The forkserver's pid, None before the first start."""
    pid: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return pid


def _kill_forkserver() -> None:
    pid = forkserver_pid()
    if pid is not None:
        # multiprocessing itself reaps it, at the next start: until then the pid cannot be anybody else's.
        ignore_missing(os.kill, pid, signal.SIGKILL)


def _end_forkserver() -> None:
    if forkserver_pid() is not None:
        _kill_forkserver()
        forkserver._forkserver._stop()  # type: ignore[attr-defined]
