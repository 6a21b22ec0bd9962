"""A worker {Event, guardian, runner}: started ahead, used for one job, never again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal

import structlog

from runner.codec import ProtocolError, decode, encode
from runner.protocol import MAX_FRAME_BYTES, CancelRequest, Describe, RunTask
from runner.reporter import READ_BYTES
from supervisor.engine.containment import Level
from supervisor.guardian.handle import Handle
from supervisor.guardian.membership import KnownProcesses, env_marker_of
from supervisor.guardian.protocol import FROM_GUARDIAN, Hello, Limit, Mark, Refused, Stop
from supervisor.node.workers.exit_watch import ExitWatch
from supervisor.node.workers.spawned_worker import SpawnedWorker, StartFailed

log = structlog.get_logger()


class _ResetAsEof(asyncio.StreamReaderProtocol):
    """Treats a reset as end of file. If the peer exits with unread data, the kernel resets the connection, but data
    that it had already sent is valid.
    """

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(None if isinstance(exc, ConnectionError) else exc)


@dataclass(slots=True)
class Line:
    """A socket pair's end that carries JSON lines in both directions."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, sock: socket.socket, opened: list[asyncio.BaseTransport]) -> Line:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_FRAME_BYTES)
        transport, protocol = await loop.create_unix_connection(lambda: _ResetAsEof(reader), sock=sock)
        opened.append(transport)
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def read(self) -> bytes | None:
        """Return the next whole line, or None at the end, even if the peer was killed in the middle of a line.

        Raise ProtocolError for a line that exceeds the limit.
        """
        try:
            return await self.reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, ConnectionResetError, BrokenPipeError):
            return None
        except asyncio.LimitOverrunError as exc:
            await self._skip_line(exc.consumed)
            raise ProtocolError(f"cannot read frame: longer than {MAX_FRAME_BYTES} bytes") from None

    async def _skip_line(self, buffered: int) -> None:
        while True:
            try:
                await self.reader.readexactly(buffered)
                await self.reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as exc:
                buffered = exc.consumed
            except asyncio.IncompleteReadError:
                return
            else:
                return

    def send(self, frame: object) -> None:
        """Queue one message. Never block. Do nothing if the peer has closed the connection."""
        if not self.writer.is_closing():
            self.writer.write(encode(frame))


@dataclass(slots=True)
class Output:
    """The reading end of the job's stdout or stderr, which Python code and all children that inherit it write to."""

    stream: Literal["stdout", "stderr"]
    reader: asyncio.StreamReader
    transport: asyncio.ReadTransport

    @classmethod
    async def connect(
        cls, stream: Literal["stdout", "stderr"], pipe: Connection, opened: list[asyncio.BaseTransport]
    ) -> Output:
        reader = asyncio.StreamReader(limit=READ_BYTES)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        opened.append(transport)
        return cls(stream, reader, transport)


def _hello(line: bytes | None, level: Level) -> Hello:
    if line is None:
        raise StartFailed("cannot start a guardian: it ended before it reported")
    hello = decode(FROM_GUARDIAN, line)
    if isinstance(hello, Refused):
        raise StartFailed(f"cannot start a guardian at level {level}: {hello.reason}")
    if not isinstance(hello, Hello):
        raise StartFailed(f"cannot start a guardian: it sent {hello.type} instead of hello")
    return hello


def _open_handles(started: SpawnedWorker, hello: Hello) -> tuple[Handle, Handle]:
    """Return the handles of guardian and runner. Raise OSError, and then keep neither open."""
    use_pidfd = started.plan.features.pidfd
    guardian = Handle.open(hello.guardian_pid, use_pidfd=use_pidfd)
    try:
        return guardian, Handle.open(hello.runner_pid, use_pidfd=use_pidfd)
    except BaseException:
        guardian.close()
        raise


class Worker:
    """The supervisor's side of one worker. Belongs to the event loop."""

    def __init__(
        self,
        started: SpawnedWorker,
        control: Line,
        channel: Line,
        outputs: tuple[Output, Output],
        hello: Hello,
        handles: tuple[Handle, Handle],
    ) -> None:
        self.control = control
        self.channel = channel
        self.outputs = outputs
        self.guardian, self.runner = handles
        self.init_pid = hello.init_pid
        self.root_pid = hello.init_pid or hello.guardian_pid
        """The root of the job's process tree, which does not itself belong to the job."""
        self.started = started
        self.known_processes: KnownProcesses | None = None
        """The processes to search the process table for, at level pgroup."""
        self._watches: dict[Handle, ExitWatch] = {}

    @classmethod
    async def connect_to(cls, started: SpawnedWorker) -> Worker:
        """Wait for the guardian's Hello. Raise StartFailed if the guardian fails; the caller sets the timeout.

        Raise OSError too, for example if there are no descriptors. Everything is closed then.
        """
        opened: list[asyncio.BaseTransport] = []
        try:
            control = await Line.connect(started.control, opened)
            channel = await Line.connect(started.channel, opened)
            stdout = await Output.connect("stdout", started.stdout, opened)
            stderr = await Output.connect("stderr", started.stderr, opened)
            hello = _hello(await control.read(), started.level)
            return cls(started, control, channel, (stdout, stderr), hello, _open_handles(started, hello))
        except BaseException:
            for transport in opened:
                transport.close()
            started.discard()
            raise

    @property
    def level(self) -> Level:
        return self.started.level

    @property
    def healthy(self) -> bool:
        """Whether both processes exist and run. A job of the same user can end or stop those of an idle worker."""
        return not any(handle.ended or handle.stopped for handle in (self.guardian, self.runner))

    def watch_exit(self, handle: Handle, on_exit: Callable[[], None]) -> None:
        """Call `on_exit` once, when `guardian` or `runner` has ended for any reason. It replaces an earlier
        callback.
        """
        self._stop_watching(handle)
        self._watches[handle] = ExitWatch(handle, on_exit)

    def _stop_watching(self, handle: Handle) -> None:
        watch = self._watches.pop(handle, None)
        if watch is not None:
            watch.stop()

    def send_order(self, order: RunTask | Describe, limit: Limit | None = None) -> None:
        """Send the runner its one order, and the guardian the limits to enforce."""
        if limit is not None:
            self.control.send(limit)
        if self.level is Level.PGROUP:
            mark = env_marker_of(order)
            self.known_processes = KnownProcesses(self.guardian.pid, self.runner.identity, mark=mark)
            self.control.send(Mark(mark))
        self.channel.send(order)

    def stop(self, order: Stop) -> None:
        """Start or raise the ladder, and ask the runner, by every channel there is. Never block, never raise.

        It needs no new thread and no new descriptor, so it works at a limit of either.
        """
        ways: tuple[Callable[[], None], ...] = (
            lambda: self.control.send(order),
            lambda: self.channel.send(CancelRequest()),
            self.started.ask,
        )
        failures = []
        for send in ways:
            try:
                send()
            except Exception as exc:
                failures.append(exc)  # the other channels are independent of it, and after them comes the backstop
        for failure in failures:
            log.error("stop_not_sent", guardian=self.guardian.pid, exc_info=failure)

    def disconnect(self) -> None:
        """Close the lifeline: the guardian kills what is left and ends."""
        # Abort instead of close: data that a dead peer will not read any more must not keep them open.
        self.control.writer.transport.abort()
        self.channel.writer.transport.abort()
        for output in self.outputs:
            output.transport.close()
        self.started.stack.close()

    def close(self) -> None:
        """Close everything of the worker. Call this once the guardian has ended."""
        self.disconnect()
        for handle in (self.guardian, self.runner):
            self._stop_watching(handle)
            handle.close()
