"""One execution of a job: a set is bound to it, its frames become facts, and it ends with a proof.

Ways to the end: the guardian's report (ECHILD); or, when the guardian is dead, stopped or late, the supervisor's
own rounds of SIGKILL, after which the adopted orphans are reaped. Either way everything that the job had written to
its channel is read before the end is told.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable

import structlog

from runner import protocol
from runner.reporting import READ_BYTES, Decoder, split_text
from supervisor.containment import native_stacks
from supervisor.containment import protocol as guardian_protocol
from supervisor.containment.attempt_records import AttemptRecords
from supervisor.containment.attempt_set import AttemptSet, Output
from supervisor.containment.backstop import Backstop, Held
from supervisor.containment.ladder import Ladder
from supervisor.containment.protocol import Limit
from supervisor.containment.stacks import NoStack, take
from supervisor.core.explain import explain_limit, explain_status
from supervisor.core.facts import Acknowledged, Fact, Gone, Signalled, Unproven
from supervisor.core.model import Cause, JobError, Proof

DRAIN_BOUND_S = 0.2
"""How long the rest of a dead job's frames may take to read while somebody waits for the verdict."""
DRAIN_SILENT_TURNS = 5
DRAIN_LONGEST_S = 30.0
"""Nobody waits: then it is read to its end, which comes as soon as all is read, because nobody is left to write. Unless
the job has handed its end of a pipe to a stranger: after so many times DRAIN_BOUND_S without a word, or so long with
words, that is not waited for."""
FRAMES_PER_TURN = 32
"""After so many frames of one job the event loop sees to the others."""
ROUND_S = 0.005
SLOW_ROUND_S = 0.1
"""Pause between rounds of SIGKILL before and after the verdict."""

log = structlog.get_logger()


class Attempt:
    """Belongs to the job's owner task, which awaits `run`. `stop` may be called at any time from the loop.

    `report_bound_s` is how long a guardian may take to report after its runner has ended without a cause.
    """

    def __init__(
        self,
        job_id: str,
        bound: AttemptSet,
        backstop: Backstop,
        records: AttemptRecords,
        *,
        report_bound_s: float,
        on_fact: Callable[[Fact], None],
        on_frame: Callable[[object], None],
    ) -> None:
        self._bound = bound
        self._job_id = job_id
        self._backstop = backstop
        self._records = records
        self._on_fact = on_fact
        self._on_frame = on_frame
        self._ladder: Ladder | None = None
        self._swept: set[int] = set()
        self._heard = 0
        self._report_bound_s = report_bound_s
        self._report_due = math.inf
        self._guardian_gone = asyncio.Event()
        self._report: asyncio.Future[guardian_protocol.Ended | None] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()
        self._stack_asked = asyncio.Lock()
        self._log = log.bind(job_id=job_id)
        bound.watch_exit(bound.guardian, self._guardian_gone.set)
        bound.watch_exit(bound.runner, self._runner_ended)

    @property
    def runner_pid(self) -> int:
        return self._bound.runner.pid

    @property
    def guardian_pid(self) -> int:
        return self._bound.guardian.pid

    @property
    def root_pid(self) -> int:
        """All below it is the job's."""
        return self._bound.root_pid

    def stop(self, cause: Cause, budget_s: float) -> None:
        """Start the ladder, or raise it. Never blocks."""
        before = self._ladder
        t0 = cause.detected if before is None else before.t0
        self._ladder = Ladder(
            t0=t0,
            budget_s=budget_s if before is None else min(before.budget_s, budget_s),
            force=cause.force or (before is not None and before.force),
            vanished=cause.vanished,
        )
        self._bound.stop(guardian_protocol.Stop(t0=t0, budget_s=budget_s, force=cause.force, vanished=cause.vanished))
        self._changed.set()

    def type(self, frame: protocol.Input) -> int:
        """Send what a client has typed. Never blocks; how many bytes wait to be sent, of this and before."""
        self._bound.channel.send(frame)
        return self._bound.channel.writer.transport.get_write_buffer_size()

    async def stack(self, *, native: bool) -> str:
        """The stacks of the runner's threads, Python's or `native` ones as well. Raises NoStack."""
        async with self._stack_asked:
            if native:
                return await asyncio.to_thread(native_stacks.take, self.runner_pid)
            try:
                fd = os.dup(self._bound.started.stack.fileno())
            except OSError:
                raise NoStack("the job's process has ended") from None
            return await asyncio.to_thread(_take_and_close, self.runner_pid, fd)

    async def run(self, work: protocol.Work | protocol.Describe, limit: Limit | None = None) -> Gone:
        """Hand over the order and see the attempt to its end. The Gone is not yet told to `on_fact`."""
        self._records.keep(self._job_id, self._bound.guardian, self._bound.runner)
        self._bound.hand_over(work, limit)
        async with asyncio.TaskGroup() as readers:
            reports = readers.create_task(self._read_reports())
            words = [readers.create_task(self._read_frames())]
            words += [readers.create_task(self._read_output(output)) for output in self._bound.outputs]
            report = await self._end()
            await self._drain(words)
            for reader in (reports, *words):
                reader.cancel()
        self._records.drop(self._bound.guardian)
        if report is not None:
            return self._gone_by_report(report)
        return self._gone_by_backstop()

    async def _drain(self, readers: list[asyncio.Task[None]]) -> None:
        """Read what a job had written that is dead. Much may wait: its result is behind everything that it said."""
        left: set[asyncio.Task[None]] = set(readers)
        bound = time.monotonic() + DRAIN_LONGEST_S
        silent = 0
        while left and silent < DRAIN_SILENT_TURNS and time.monotonic() < bound:
            heard = self._heard
            _, left = await asyncio.wait(left, timeout=DRAIN_BOUND_S)
            if self._ladder is not None:
                return
            silent = silent + 1 if self._heard == heard else 0

    async def abandon(self) -> Gone:
        """Kill it by our own means, because `run` failed of a bug."""
        await self._sweep()
        self._records.drop(self._bound.guardian)
        return self._gone_by_backstop()

    async def _end(self) -> guardian_protocol.Ended | None:
        """Wait for the guardian's report; None when the backstop had to do it."""
        while not self._report.done() and (left_s := self._until_backstop_s()) > 0:
            self._changed.clear()
            changed = asyncio.ensure_future(self._changed.wait())
            timeout = None if left_s == math.inf else left_s
            await asyncio.wait((self._report, changed), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
        if self._reported() is None:
            await self._sweep()
        return self._reported()

    def _reported(self) -> guardian_protocol.Ended | None:
        return self._report.result() if self._report.done() else None

    def _runner_ended(self) -> None:
        # From now on the guardian sweeps what is left and reports. If it is stopped it never will.
        self._report_due = time.monotonic() + self._report_bound_s
        self._changed.set()

    def _until_backstop_s(self) -> float:
        due = self._report_due if self._ladder is None else self._ladder.backstop_at
        return due - time.monotonic()

    async def _sweep(self) -> None:
        """Rounds of SIGKILL until nothing is left, past the verdict too: what is not proven is not given up.

        A guardian that was only late may still report its own proof meanwhile; then that is the end.
        """
        bound = self._bound
        held = Held(bound.guardian, bound.started.plan.leaf, bound.sightings, bound.init_pid)
        self._log.warning("backstop", guardian_ended=held.guardian.ended)
        began = time.monotonic()
        told: bool | None = None
        while self._reported() is None:
            found = await self._backstop.round(held)
            self._swept |= found.seen
            if found.done:
                return
            asked = self._ladder is not None
            verdict_at = began + self._report_bound_s if self._ladder is None else self._ladder.verdict_at
            late = time.monotonic() >= verdict_at
            if late and told is not asked:
                survivors = await self._backstop.survivors(held)
                event = "cancel_unproven" if asked else "sweep_unproven"
                self._log.error(event, survivors=[survivor.pid for survivor in survivors])
                self._on_fact(Unproven(survivors))
                told = asked
            await asyncio.sleep(SLOW_ROUND_S if late else ROUND_S)

    async def _read_frames(self) -> None:
        count = 0
        while True:
            try:
                line = await self._bound.channel.read()
                if line is None:
                    return
                frame = protocol.decode(protocol.FROM_RUNNER, line)
            except protocol.ProtocolError as exc:
                # The job wrote this, not our runner: say so in its own events, and go on with the next line.
                frame = protocol.Log("warning", "a frame of this job was refused", {"reason": str(exc)})
            self._on_frame(frame)
            self._heard += 1
            count += 1
            if count % FRAMES_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _read_output(self, output: Output) -> None:
        decoder = Decoder()
        while data := await output.reader.read(READ_BYTES):
            self._heard += 1
            for piece in split_text(decoder.feed(data)):
                self._on_frame(protocol.Output(output.stream, piece))
            await asyncio.sleep(0)
        for piece in split_text(decoder.feed(b"", final=True)):
            self._on_frame(protocol.Output(output.stream, piece))

    async def _read_reports(self) -> None:
        while (line := await self._bound.control.read()) is not None:
            frame = protocol.decode(guardian_protocol.FROM_GUARDIAN, line)
            match frame:
                case guardian_protocol.Acknowledged(ms):
                    self._on_fact(Acknowledged(ms))
                case guardian_protocol.Signalled(name, pids, ms):
                    self._on_fact(Signalled(name, tuple(pids), ms))
                case guardian_protocol.Ended():
                    if not self._report.done():
                        self._report.set_result(frame)
                    return
                case guardian_protocol.Hello() | guardian_protocol.Refused():
                    continue
        # EOF without a report: it was killed. Its exit is certain before the sweep begins.
        await self._guardian_gone.wait()
        if not self._report.done():
            self._report.set_result(None)

    def _gone_by_report(self, report: guardian_protocol.Ended) -> Gone:
        return Gone(
            proof=Proof(report.proof),
            error=explain_status(report.runner_status),
            limit=None if report.limit is None else explain_limit(report.limit),
            leftovers=report.leftovers,
            processes_seen=report.processes_seen,
            acknowledged_ms=report.acknowledged_ms,
            terminated_ms=report.terminated_ms,
            killed_ms=report.killed_ms,
            gone_ms=report.gone_ms,
        )

    def _gone_by_backstop(self) -> Gone:
        killed_ms = None
        if self._ladder is not None:
            killed_ms = round((time.monotonic() - self._ladder.t0) * 1000, 1)
        return Gone(
            proof=Proof.ADOPTED_REAPED if self._bound.sightings is None else Proof.PROCESS_TABLE,
            error=JobError("guardian", "the process that guards this job was ended from outside; the job was killed"),
            processes_seen=len(self._swept),
            killed_ms=killed_ms,
            gone_ms=killed_ms,
        )


def _take_and_close(runner_pid: int, fd: int) -> str:
    # Closed here, because whoever awaits the thread may be cancelled while it still reads.
    try:
        return take(runner_pid, fd)
    finally:
        os.close(fd)
