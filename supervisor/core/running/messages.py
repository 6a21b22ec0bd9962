"""Apply an attempt's reports to its job: as inputs of its state machine, and as events of its log.

The job itself can write to the channel that carries reports. So an invalid report is rejected with a line in the job's
log, and after the first report of the task's end no report changes the job any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from supervisor.core.jobs import machine
from supervisor.core.jobs.inputs import Input, Reported
from supervisor.core.jobs.model import Json
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.journal.journal import Journal
from supervisor.core.running.held_report import HeldReport
from supervisor.engine import report as reports
from supervisor.engine.order import StdinChunk
from supervisor.engine.report import Report

REFUSED = "a frame of this job was refused"


class AttemptMessages:
    """The listener of one job (`engine.AttemptListener`). `apply` passes an input to the job's state machine, `write`
    sends typed text to its attempt."""

    def __init__(
        self,
        record: LiveJob,
        journal: Journal,
        *,
        held: HeldReport,
        apply: Callable[[Input], None],
        write: Callable[[StdinChunk], int],
    ) -> None:
        self._record = record
        self._journal = journal
        self._held = held
        self._apply = apply
        self._write = write
        self._dropped = 0

    def report(self, report: Report) -> None:
        """Apply one report."""
        if isinstance(report, reports.Acknowledged | reports.Signalled | reports.Unproven):
            self._apply(report)
            return
        self._record.pulse.beat()
        if isinstance(report, reports.Heartbeat):
            return
        self._record.pulse.task_spoke()
        match report:
            case reports.Began():
                self._record.input.connect(self._write)
                self._try(report)
            case reports.TaskReported():
                self._try(Reported(report.result, report.error), by_stop_signal=report.by_stop_signal)
            case reports.PhaseReport() | reports.ResourceReport():
                self._apply(report)
            case reports.StdinTaken(cost):
                self._record.input.taken(cost)
            case reports.StdinClosed():
                self._record.input.close("nothing in it reads its input any more")
            case reports.OutputReport(stream, pieces):
                for piece in pieces:
                    self._say("job.output", {"stream": stream, "text": piece})
            case reports.ProgressReport(done, total, message):
                self._say("job.progress", {"done": done, "total": total, "message": message})
            case reports.LogReport(level, message, more):
                self._say("job.log", {"level": level, "message": message, "fields": more})

    def _try(self, fact: reports.Began | Reported, *, by_stop_signal: bool = False) -> None:
        try:
            self._held.take(fact, by_stop_signal=by_stop_signal)
        except machine.RefusedTransition as exc:
            # The job wrote this report, not our runner: a runner begins and reports only once.
            self._say("job.log", {"level": "warning", "message": REFUSED, "fields": {"reason": str(exc)}})

    def _say(self, type_: str, fields: Mapping[str, Json]) -> None:
        """Append an event to the job's log. If the journal cannot keep up, drop the event before it gets a number, and
        log how many were dropped."""
        if self._journal.congested:
            self._dropped += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            message = f"{dropped} events were left out: they came faster than they could be written"
            self._record.log.append("job.log", {"level": "warning", "message": message, "fields": {"dropped": dropped}})
        self._record.log.append(type_, fields)
