"""Check all unfinished jobs a few times a second, and report stuck ones: in the job, its events and the log."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import structlog

from supervisor.config import Settings
from supervisor.core.jobs.inputs import StuckChanged
from supervisor.core.jobs.model import SERVER, Caller, Cause, Reason, Rule, State, Stuck, StuckAction
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.loop.awake_clock import AwakeClock
from supervisor.core.running.controller import JobController
from supervisor.core.tasks.catalog import BUILT_IN
from supervisor.core.telemetry.diagnosis import Diagnosis, as_found, diagnose, take_stack
from supervisor.core.telemetry.stuck_rules import Finding, StuckLimits, judge
from supervisor.faults import Faults

TICK_S = 0.25
MAX_AT_ONCE = 4
"""How many jobs are diagnosed at once, because the threads for stacks and process tables are shared."""
DIAGNOSE_BOUND_S = 5.0
MAX_STACK_CHARS = 16_000
"""Limit for a stack in an event."""

log = structlog.get_logger()


def limits_of(settings: Settings) -> StuckLimits:
    """Return the server's limits, for jobs that have none of their own."""
    return StuckLimits(
        settings.stuck_after_s, settings.stuck_no_event_s, StuckAction(settings.stuck_action), settings.import_s
    )


class StuckMonitor:
    """Only for use on the event loop. `owners` are the controllers of the unfinished jobs."""

    def __init__(
        self, owners: Callable[[], Iterable[JobController]], defaults: StuckLimits, faults: Faults, clock: AwakeClock
    ) -> None:
        self._clock = clock
        self._owners = owners
        self._faults = faults
        self._defaults = defaults
        self._reports: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)

    async def run(self) -> None:
        """Check periodically, for ever."""
        try:
            while True:
                await asyncio.sleep(TICK_S)
                self.look(self._clock.now())
        finally:
            for report in self._reports:
                report.cancel()

    def stuck(self) -> list[LiveJob]:
        """Return the jobs that are stuck now."""
        return [owner.record for owner in self._owners() if owner.record.stuck is not None]

    @property
    def detail(self) -> str:
        """The stuck jobs in one line, without IDs, because clients that may not see the jobs read it, too."""
        rules = Counter(record.stuck.rule for record in self.stuck() if record.stuck is not None)
        return ", ".join(f"{count} {rule}" for rule, count in rules.items()) or "no job is stuck"

    async def diagnose(self, caller: Caller = SERVER) -> list[Diagnosis]:
        """Diagnose the caller's stuck jobs within DIAGNOSE_BOUND_S. For jobs whose turn does not come by then, return
        the finding alone."""
        deadline = asyncio.get_running_loop().time() + DIAGNOSE_BOUND_S

        async def one(owner: JobController, stuck: Stuck) -> Diagnosis:
            try:
                async with asyncio.timeout_at(deadline), self._turns:
                    return await diagnose(owner, stuck)
            except TimeoutError:
                return as_found(owner, stuck)

        found = [(owner, owner.record.stuck) for owner in self._owners() if caller.sees(owner.record.token)]
        return await asyncio.gather(*(one(owner, stuck) for owner, stuck in found if stuck is not None))

    def look(self, now: float) -> None:
        """Check all jobs once. `now` is on the awake clock."""
        for owner in list(self._owners()):
            try:
                self._look_at(owner, judge(owner.record, self.limits(owner), now), now)
            except Exception as exc:
                # The other jobs are checked all the same.
                self._faults.note("stuck monitor", exc, job_id=owner.record.job.id)

    def limits(self, owner: JobController) -> StuckLimits:
        """Return the job's own limits, or else the server's. 0 means off."""
        request, defaults = owner.record.job.request, self._defaults
        return StuckLimits(
            after_s=(defaults.after_s if request.stuck_after_s is None else request.stuck_after_s) or None,
            no_event_s=(defaults.no_event_s if request.stuck_no_event_s is None else request.stuck_no_event_s) or None,
            action=request.stuck_action or defaults.action,
            import_s=None if owner.module in BUILT_IN else defaults.import_s,
        )

    def _look_at(self, owner: JobController, finding: Finding | None, now: float) -> None:
        known = owner.record.stuck
        if finding is None:
            if known is not None:
                log.info("job_unstuck", job_id=owner.record.job.id, rule=str(known.rule))
                owner.apply(StuckChanged(None, {"rule": str(known.rule)}))
            return
        since = datetime.now(UTC) - timedelta(seconds=now - finding.since)
        words = describe(owner, finding, now)
        if known is not None and known.rule is finding.rule:
            owner.apply(StuckChanged(Stuck(finding.rule, words, known.since, known.stack, known.note)))
            return
        owner.apply(StuckChanged(Stuck(finding.rule, words, since)))
        report = asyncio.create_task(self._report(owner, finding, words), name=f"stuck {owner.record.job.id}")
        self._reports.add(report)
        report.add_done_callback(self._reported)

    def _reported(self, report: asyncio.Task[None]) -> None:
        self._reports.discard(report)
        if not report.cancelled() and (error := report.exception()) is not None:
            self._faults.note("stuck monitor", error)

    async def _report(self, owner: JobController, finding: Finding, words: str) -> None:
        """Report the finding with the stack, which is taken before any action."""
        record = owner.record
        log.warning("job_stuck", job_id=record.job.id, rule=str(finding.rule), words=words)
        stack = await take_stack(owner)
        text = None if stack.text is None else stack.text[:MAX_STACK_CHARS]
        stuck = record.stuck
        fields = {"rule": str(finding.rule), "words": words, "stack": text, "note": stack.note}
        if stuck is not None and stuck.rule is finding.rule:
            owner.apply(StuckChanged(Stuck(stuck.rule, stuck.words, stuck.since, text, stack.note), fields))
        hangs = record.job.state in {State.QUEUED, State.STARTING, State.RUNNING} and record.reported is None
        if hangs and stuck is not None and self.limits(owner).action is StuckAction.CANCEL:
            owner.cancel(Cause(Reason.STUCK, time.monotonic(), datetime.now(UTC), f"{finding.rule}: {words}"[:200]))


def describe(owner: JobController, finding: Finding, now: float) -> str:
    """Return the finding in words."""
    age = f"{now - finding.since:.0f} s"
    match finding.rule:
        case Rule.NO_HEARTBEAT:
            return f"its runner has been silent for {age}: {_what_holds(owner)}"
        case Rule.NO_EVENT:
            return f"its task has said nothing for {age}, although its runner is well"
        case Rule.STARTING_LATE if owner.attempt is not None and owner.module not in BUILT_IN:
            return f"it has been importing {owner.module} for {age}, longer than DEADSTOP_IMPORT_S"
        case Rule.STARTING_LATE:
            return f"it has had its place for {age} and its task does not run yet"
        case Rule.CANCELLING_LATE:
            return f"it was cancelled {age} ago, past its budget, and is not proven gone"
        case Rule.SURVIVORS:
            return f"{_who_survives(owner)}, {age} after it was to end"


def _what_holds(owner: JobController) -> str:
    return "its process has ended" if owner.attempt is None else owner.attempt.waits_for()


def _who_survives(owner: JobController) -> str:
    cancellation = owner.record.job.cancellation
    survivors = cancellation.survivors if cancellation is not None else ()
    if not survivors:
        return "something that it left behind is still there"
    named = ", ".join(f"{survivor.pid} {survivor.name} ({survivor.status})" for survivor in survivors[:5])
    more = f" and {len(survivors) - 5} more" if len(survivors) > 5 else ""
    return f"{named}{more} would not go"
