"""What is read from a running attempt: the runner's frames, its output, and the guardian's reports.

An exception in a reader or in what it calls never ends the attempt: the fault is noted, and the next message is read.
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
"""How long the rest of a dead job's frames may take to read while a client waits for the verdict."""
DRAIN_SILENT_TURNS = 5
DRAIN_LONGEST_S = 30.0
"""Without a waiting client everything is read to its end, which comes once the last writer has ended. A job may have
passed its end of a pipe to another program: after so many times DRAIN_BOUND_S without data, or so long with data, that
is not waited for."""
FRAMES_PER_TURN = 32
"""After so many frames of one job the event loop turns to the others."""


class ExecutionReaders:
    """Belongs to one attempt. `on_report` and `on_frame` may raise: then that one message is lost.

    `report` is the guardian's last word: None when it ended without one, or said what cannot be read.
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
        """Begin to read."""
        self._output = [self._guarded(self._read_frames())]
        self._output += [self._guarded(self._read_output(output)) for output in self._bound.outputs]
        self._tasks = [self._guarded(self._read_reports()), *self._output]

    async def stop(self) -> None:
        """Stop reading."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def tell(self, report: Report) -> None:
        """Pass on what became of the attempt."""
        try:
            self._on_report(report)
        except Exception as exc:
            self._faults.note("attempt", exc, job_id=self._job_id)

    async def drain(self, awaited: Callable[[], bool]) -> None:
        """Read what a dead job had written. There may be much of it: its result is behind everything else.

        `awaited` says whether a client waits for the verdict; then it is read for DRAIN_BOUND_S at most.
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
                # The job wrote this, not our runner: say so in its own events, and go on with the next line.
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
            # Also when a report could not be read: then the backstop does the work, and no report is waited for.
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
        # The end of the socket without a report: the guardian was killed. The sweep begins once its exit is certain.
        await self._guardian_gone.wait()
