"""Start one worker: Event, channels, guardian. If a step fails, everything is closed again."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext

from runner import posix
from supervisor.engine.containment import Level
from supervisor.guardian import main as guardian
from supervisor.guardian.environment import COOKIE
from supervisor.guardian.headroom import require_descriptors
from supervisor.guardian.plan import Plan
from supervisor.node.cleanup import semaphores
from supervisor.node.workers import server_forkserver, server_tracker
from supervisor.node.workers.disguise import disguised
from supervisor.node.workers.spawned_worker import SpawnedWorker

DESCRIPTORS = 24
"""The most that a start needs: ten for the ends of five channels, the forkserver's and its pipes, two pidfds."""


def spawn(
    context: ForkServerContext,
    level: Level,
    plan: Plan,
    child_environment: dict[str, str],
    open_files: posix.Limit | None,
) -> SpawnedWorker:
    """Start a guardian that contains a runner as planned. Raise OSError and other exceptions of multiprocessing."""
    require_descriptors(DESCRIPTORS)
    server_tracker.mend(child_environment)
    with disguised(child_environment), ExitStack() as theirs, ExitStack() as ours:
        with semaphores.named(child_environment.get(COOKIE)):
            event = context.Event()
        control, guardian_control = _socket_pair(ours, theirs)
        channel, runner_channel = _socket_pair(ours, theirs)
        stdout, runner_stdout = _pipe(context, ours, theirs)
        stderr, runner_stderr = _pipe(context, ours, theirs)
        stack, runner_stack = _pipe(context, ours, theirs)
        server_forkserver.ensure(open_files)
        ends = (guardian_control, runner_channel, runner_stdout, runner_stderr, runner_stack)
        process = context.Process(target=guardian.main, args=(plan, event, *ends), daemon=False)
        process.start()
        ours.pop_all()
    return SpawnedWorker(level, plan, event, process, control, channel, stdout, stderr, stack)


def _socket_pair(ours: ExitStack, theirs: ExitStack) -> tuple[socket.socket, socket.socket]:
    our_end, their_end = socket.socketpair()
    return ours.enter_context(our_end), theirs.enter_context(their_end)


def _pipe(context: ForkServerContext, ours: ExitStack, theirs: ExitStack) -> tuple[Connection, Connection]:
    read_end, write_end = context.Pipe(duplex=False)
    return ours.enter_context(read_end), theirs.enter_context(write_end)
