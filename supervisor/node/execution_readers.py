"""Read from a running attempt: the runner's frames, its output, and the guardian's reports.

An exception in a reader or its callback never ends the attempt: the fault is noted, and reading continues.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from runner import codec, protocol
from runner.codec import read_frame
from runner.reporter import READ_BYTES, Decoder, split_text
from supervisor.engine.report import Acknowledged, Report, Signalled
from supervisor.faults import Faults
from supervisor.guardian import protocol as guardian_protocol
from supervisor.node.workers.worker import Output, Worker

DRAIN_BOUND_S = 0.2
"""Time limit for reading the remaining frames of a dead job while a client waits for the verdict."""
DRAIN_SILENT_TURNS = 5
DRAIN_LONGEST_S = 30.0
"""Time limit without a waiting client. Reading then normally ends when the last writer has ended. But a job may have
passed its end of a pipe to another program, so reading also stops after DRAIN_SILENT_TURNS times DRAIN_BOUND_S without
data."""
FRAMES_PER_TURN = 32
"""The event loop reads this many frames of one job before it runs other tasks."""


class ExecutionReaders:
    """The readers of one attempt. If `on_report` or `on_frame` raises an exception, that message is lost.

    `report` is the guardian's final report, None if it ended without one or its report was not valid.
    """

    def __init__(
        self,
        job_id: str,
        bound: Worker,
        *,
        on_report: Callable[[Report], None],
        on_frame: Callable[[object], None],
        guardian_gone: asyncio.Event,
        faults: Faults,
    ) -> None:
        self._job_id = job_id
        self._bound = bound
        self._on_report = on_report
        self._on_frame = on_frame
        self._guardian_gone = guardian_gone
        self._faults = faults
        self._heard = 0
        self._output: list[asyncio.Task[None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.report: asyncio.Future[guardian_protocol.Ended | None] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        self._output = [self._guarded(self._read_frames())]
        self._output += [self._guarded(self._read_output(output)) for output in self._bound.outputs]
        self._tasks = [self._guarded(self._read_reports()), *self._output]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def tell(self, report: Report) -> None:
        """Pass a report to `on_report`."""
        try:
            self._on_report(report)
        except Exception as exc:
            self._faults.note("attempt", exc, job_id=self._job_id)

    async def drain(self, awaited: Callable[[], bool]) -> None:
        """Read the remaining data of a dead job. There may be much of it, and the result comes last.

        `awaited` returns whether a client waits for the verdict; then reading takes DRAIN_BOUND_S at most.
        """
        left: set[asyncio.Task[None]] = set(self._output)
        bound = time.monotonic() + DRAIN_LONGEST_S
        silent = 0
        while left and silent < DRAIN_SILENT_TURNS and time.monotonic() < bound:
            heard = self._heard
            _, left = await asyncio.wait(left, timeout=DRAIN_BOUND_S)
            if awaited():
                return
            silent = silent + 1 if self._heard == heard else 0

    def _guarded(self, reading: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def read() -> None:
            try:
                await reading
            except Exception as exc:
                self._faults.note("attempt reader", exc, job_id=self._job_id)

        return asyncio.create_task(read())

    def _pass_on(self, frame: object) -> None:
        self._heard += 1
        try:
            self._on_frame(frame)
        except Exception as exc:
            self._faults.note("attempt frame", exc, job_id=self._job_id)

    async def _read_frames(self) -> None:
        count = 0
        while True:
            try:
                line = await self._bound.channel.read()
                if line is None:
                    return
                frame: object = read_frame(line)
            except codec.ProtocolError as exc:
                # The job wrote this line, not our runner: report it in the job's events, and read the next line.
                frame = protocol.Log("warning", "a frame of this job was refused", {"reason": str(exc)})
            self._pass_on(frame)
            count += 1
            if count % FRAMES_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _read_output(self, output: Output) -> None:
        decoder = Decoder()
        while data := await output.reader.read(READ_BYTES):
            for piece in split_text(decoder.feed(data)):
                self._pass_on(protocol.Output(output.stream, piece))
            await asyncio.sleep(0)
        for piece in split_text(decoder.feed(b"", final=True)):
            self._pass_on(protocol.Output(output.stream, piece))

    async def _read_reports(self) -> None:
        try:
            await self._follow_reports()
        finally:
            # This also follows an invalid report: the supervisor then kills the processes instead of waiting.
            if not self.report.done():
                self.report.set_result(None)

    async def _follow_reports(self) -> None:
        while (line := await self._bound.control.read()) is not None:
            frame = codec.decode(guardian_protocol.FROM_GUARDIAN, line)
            match frame:
                case guardian_protocol.Acknowledged(ms):
                    self.tell(Acknowledged(ms))
                case guardian_protocol.Signalled(name, pids, ms):
                    self.tell(Signalled(name, {"pids": list(pids)}, ms))
                case guardian_protocol.Ended():
                    if not self.report.done():
                        self.report.set_result(frame)
                    return
                case guardian_protocol.Hello() | guardian_protocol.Refused():
                    continue
        # The socket has ended without a report: the guardian was killed. The sweep begins once its exit is certain.
        await self._guardian_gone.wait()
