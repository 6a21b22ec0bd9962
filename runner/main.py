"""The runner: one process that waits for one order, runs the task and reports the outcome.

The guardian forks it before it has a thread or has imported a user's module. Every process below it belongs to the job;
every process above it is ours.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import socket
import sys
import threading
from collections.abc import Coroutine, Iterable
from multiprocessing.synchronize import Event as SharedEvent
from pathlib import Path
from typing import Any, NoReturn

from runner import posix, results
from runner.cancellation import Cancellation, quiet_excepthook
from runner.codec import TO_RUNNER, ProtocolError, decode, encode
from runner.context import Context
from runner.describe import describe
from runner.errors import JobCancelled, TaskFailed
from runner.event_loop import TaskLoop
from runner.forks import ForkHooks
from runner.heartbeat import HeartbeatThread
from runner.identity import become, give_workspace
from runner.import_path import with_import_path
from runner.import_phase import import_phase
from runner.loading import Task, load
from runner.outcome import end_forked_copy, explain, own_errors_reported
from runner.process_setup import close_inherited, enter_workspace, job_environment, reset_signals
from runner.protocol import AskSeen, Describe, Failure, Result, Running, RunTask, StopCommand
from runner.reporter import Reporter, flush_standard_streams, open_standard_streams
from runner.stdin import JobStdin
from runner.text import describe_exception
from runner.unraisable import UnraisableHook
from runner.watcher import Watch


def run(
    event: SharedEvent,
    channel: socket.socket,
    output_fds: tuple[int, int],
    acknowledge_fd: int,
    stack_fd: int,
    keep_open: Iterable[int],
) -> NoReturn:
    """Run the process to its end. Never return, because what would be returned to is the copied stack of the guardian.

    `output_fds` become stdout and stderr; `acknowledge_fd` is a pipe to the guardian, `stack_fd` one to the supervisor;
    `keep_open` are descriptors that the standard library needs.
    """
    status = 70  # EX_SOFTWARE: a bug of ours, unless the code below succeeds
    try:
        # The runner must not lead a session: a leader gets the first terminal that it opens as its controlling
        # terminal, and SIGHUP when that terminal is closed.
        os.setpgid(0, 0)
        reset_signals()
        close_inherited(output_fds, [channel.fileno(), acknowledge_fd, stack_fd, *keep_open])
        order, rest = _next_order(channel)
        if order is not None:
            cancellation = Cancellation(
                lambda: _notify_guardian(acknowledge_fd, AskSeen()),
                lambda pid: _notify_guardian(acknowledge_fd, StopCommand(pid)),
            )
            secrets = order.secrets if isinstance(order, RunTask) else {}
            reporter = Reporter(channel, cancellation, secrets.values())
            typed = JobStdin(reporter.send)
            watch = Watch(event, channel, cancellation, rest=rest, on_input=typed.put)
            with own_errors_reported(reporter.send):
                if isinstance(order, RunTask):
                    _run_work(order, [watch, HeartbeatThread(reporter, stack_fd)], cancellation, reporter, typed)
                elif isinstance(order, Describe):
                    describe(order, watch, reporter)
        status = 0
    finally:
        # Not sys.exit: that would run the atexit handlers inherited from the forkserver.
        os._exit(status)


def _next_order(channel: socket.socket) -> tuple[Any, bytes]:
    """Wait for the order, and return it with what was read after it. Return None if the supervisor or guardian has
    ended.
    """
    buffer = bytearray()
    while b"\n" not in buffer:
        data = channel.recv(1 << 16)
        if not data:
            return None, b""
        buffer += data
    line, _, rest = bytes(buffer).partition(b"\n")
    return decode(TO_RUNNER, line), rest


def _run_work(
    work: RunTask, threads: list[threading.Thread], cancellation: Cancellation, reporter: Reporter, typed: JobStdin
) -> None:
    workspace = Path(work.workspace)
    environment = job_environment(work.environment, workspace, Path(work.short_path or workspace), work.job_id)
    enter_workspace(workspace, with_import_path(environment, work.module))
    if work.user is not None:
        give_workspace(workspace, work.user)
        become(work.user)
    if not work.secrets:
        # The guardian is not dumpable, and its children inherit that. A job may read its own /proc like any program,
        # unless it has secrets: then no process that it starts may read the memory of this one.
        posix.set_dumpable(True)
    open_standard_streams()
    threading.excepthook = quiet_excepthook(threading.excepthook)
    sys.unraisablehook = UnraisableHook(cancellation, sys.unraisablehook)
    cancellation.install()
    runner_pid = os.getpid()
    ForkHooks(cancellation, reporter).install()
    for thread in threads:
        thread.start()
    loop = TaskLoop()
    outcome = _outcome(work, cancellation, reporter, typed, loop)
    cancellation.wait_for_late_request()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.getpid() != runner_pid:
        flush_standard_streams(reporter)
        end_forked_copy(outcome)
    if cancellation.requested:
        loop.end(None)  # the ladder sets the time limit
    flush_standard_streams(reporter)
    try:
        reporter.end(outcome)
    except (ProtocolError, ValueError) as exc:
        value = outcome.result if isinstance(outcome, Result) else None
        reporter.send(Failure("protocol", results.unusable(value, exc)))
    if not cancellation.requested:
        loop.end()
        flush_standard_streams(reporter)


def _outcome(
    work: RunTask, cancellation: Cancellation, reporter: Reporter, typed: JobStdin, loop: TaskLoop
) -> Result | Failure:
    """Run the task's function. When it has been left, nothing is raised in this thread any more."""
    try:
        try:
            with import_phase(work.module, reporter):
                task = _find(work)
            arguments = task.bind(work.input)
            cancellation.raise_if_requested()
            reporter.send(Running())
            context = Context(work, cancellation, reporter, typed)
            return Result(results.plain(_call(task, context, arguments, cancellation, loop)))
        finally:
            cancellation.left = True
    except BaseException as exc:
        return explain(exc, cancellation)


def _find(work: RunTask) -> Task:
    try:
        tasks = load(work.module)
    except JobCancelled:
        raise
    except BaseException as exc:
        raise TaskFailed("load", f"cannot import {work.module}: {describe_exception(exc)}") from exc
    if work.task not in tasks:
        raise TaskFailed("load", f"cannot find task {work.task!r} in {work.module}")
    return tasks[work.task]


def _call(
    task: Task, context: Context, arguments: dict[str, Any], cancellation: Cancellation, loop: TaskLoop
) -> object:
    returned = task.function(context, **arguments)
    # Check the returned object and not the function: an `async def` may have a decorator.
    return loop.run(_awaited(returned, cancellation)) if inspect.iscoroutine(returned) else returned


async def _awaited(returned: Coroutine[Any, Any, object], cancellation: Cancellation) -> object:
    current = asyncio.current_task()
    assert current is not None
    cancellation.bind_async(current)
    try:
        await asyncio.sleep(0)  # a cancel request from before the task existed takes effect here
        return await returned
    finally:
        returned.close()
        cancellation.unbind_async()


def _notify_guardian(guardian_fd: int, frame: AskSeen | StopCommand) -> None:
    os.write(guardian_fd, encode(frame))
