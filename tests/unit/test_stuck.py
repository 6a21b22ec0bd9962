"""When a job counts as stuck, by a clock that the test controls."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.config import load_settings
from supervisor.core.jobs.inputs import Reported
from supervisor.core.jobs.model import Cancellation, Job, JobRequest, Reason, Rule, State, Stuck, StuckAction
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.telemetry import stuck_monitor as stuck_watch
from supervisor.core.telemetry.diagnosis import Diagnosis
from supervisor.core.telemetry.stuck_rules import Finding, StuckLimits, judge
from supervisor.engine.containment import Survivor
from supervisor.errors import StartupError
from supervisor.faults import Faults
from tests.support.clock import SteppedClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = StuckLimits(after_s=30.0, no_event_s=None, action=StuckAction.REPORT)


def record_in(state: State, **values: object) -> LiveJob:
    job = Job("j", JobRequest("t", {}), NOW, "subreaper", state=state, **values)  # type: ignore[arg-type]
    return LiveJob(job, lambda _: None, token="t")


def cancelling(**values: object) -> LiveJob:
    record = record_in(State.CANCELLING, cancellation=Cancellation(Reason.API, None, NOW, False, 2.0, **values))  # type: ignore[arg-type]
    record.pulse.caused_at = 100.0
    return record


def test_a_silent_runner_is_stuck_from_the_limit_on_and_since_its_last_beat() -> None:
    record = record_in(State.RUNNING)
    record.pulse.beat_at = record.pulse.task_at = 100.0
    assert judge(record, LIMITS, 129.9) is None
    assert judge(record, LIMITS, 130.0) == Finding(Rule.NO_HEARTBEAT, 100.0)
    assert judge(record, replace(LIMITS, after_s=None), 10_000.0) is None


def test_a_silent_task_counts_only_when_asked_for_and_less_than_a_silent_runner() -> None:
    record = record_in(State.RUNNING)
    record.pulse.beat_at, record.pulse.task_at = 199.0, 100.0
    assert judge(record, LIMITS, 200.0) is None
    limits = replace(LIMITS, no_event_s=60.0)
    assert judge(record, limits, 200.0) == Finding(Rule.NO_EVENT, 100.0)
    assert judge(record, limits, 240.0) == Finding(Rule.NO_HEARTBEAT, 199.0)


@pytest.mark.parametrize("state", [State.QUEUED, State.STARTING])
def test_starting_late_counts_from_the_slot_and_not_from_the_queue(state: State) -> None:
    record = record_in(state)
    assert judge(record, LIMITS, 1e9) is None
    record.pulse.admitted_at = 100.0
    assert judge(record, LIMITS, 104.9) is None
    assert judge(record, LIMITS, 105.0) == Finding(Rule.STARTING_LATE, 100.0)


def test_an_import_has_a_bound_of_its_own_from_the_hand_over_on() -> None:
    limits = replace(LIMITS, import_s=20.0)
    record = record_in(State.STARTING)
    record.pulse.admitted_at, record.pulse.bound_at = 90.0, 100.0
    assert judge(record, limits, 119.9) is None
    assert judge(record, limits, 120.0) == Finding(Rule.STARTING_LATE, 100.0)
    assert judge(record, replace(limits, import_s=None), 119.9) == Finding(Rule.STARTING_LATE, 90.0)  # no import
    record.pulse.bound_at = None
    assert judge(record, limits, 95.0) == Finding(Rule.STARTING_LATE, 90.0)  # it has not come to it


def test_a_cancel_past_its_budget_is_late_and_survivors_are_worse() -> None:
    assert judge(cancelling(), LIMITS, 102.2) is None
    assert judge(cancelling(), LIMITS, 102.25) == Finding(Rule.CANCELLING_LATE, 100.0)
    left = (Survivor(1, "x", "disk-sleep"),)
    assert judge(cancelling(survivors=left), LIMITS, 101.9) == Finding(Rule.SURVIVORS, 100.0)


def test_a_sweep_that_does_not_end_after_the_result_names_what_survives() -> None:
    record = record_in(State.RUNNING)
    record.life = replace(record.life, reported=Reported(result=1))
    record.pulse.reported_at = 100.0
    assert judge(record, LIMITS, 102.4) is None
    assert judge(record, LIMITS, 102.5) == Finding(Rule.SURVIVORS, 100.0)


def test_a_finished_job_is_never_stuck() -> None:
    record = record_in(State.SUCCEEDED)
    record.pulse.beat_at = 0.0
    assert judge(record, LIMITS, 1e9) is None


def test_time_in_which_the_server_stood_still_is_not_counted() -> None:
    clock = SteppedClock()
    record = record_in(State.RUNNING)
    record.pulse.clock = clock.awake.now
    record.pulse.bound()
    clock.step(20)
    clock.sleep(60)
    clock.step(9)
    assert judge(record, LIMITS, clock.awake.now()) is None
    clock.step(2)
    assert judge(record, LIMITS, clock.awake.now()) is not None


def test_settings_take_off_and_refuse_less_than_a_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEADSTOP_STUCK_AFTER_S", "off")
    monkeypatch.setenv("DEADSTOP_STUCK_NO_EVENT_S", "12.5")
    settings = load_settings()
    assert (settings.stuck_after_s, settings.stuck_no_event_s) == (0.0, 12.5)
    monkeypatch.setenv("DEADSTOP_STUCK_AFTER_S", "0.4")
    with pytest.raises(StartupError, match="cannot use DEADSTOP_STUCK_AFTER_S: must be at least 1"):
        load_settings()


@pytest.mark.parametrize("hangs", [True, False])
def test_jobs_that_hold_up_a_look_hold_up_no_answer(monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    async def look(owner: Any, stuck: Stuck) -> Diagnosis:
        if hangs:
            await asyncio.Event().wait()
        return Diagnosis(owner.record.job.id, "t", replace(stuck, stack="now"), [])

    async def body() -> list[Diagnosis]:
        records = [record_in(State.RUNNING) for _ in range(3 * stuck_watch.MAX_AT_ONCE)]
        for record in records:
            record.life = replace(record.life, stuck=Stuck(Rule.NO_HEARTBEAT, "words", NOW, "then"))
        owners: Any = [SimpleNamespace(record=record) for record in records]
        return await stuck_watch.StuckMonitor(lambda: owners, LIMITS, Faults(), SteppedClock().awake).diagnose()

    monkeypatch.setattr(stuck_watch, "diagnose", look)
    if hangs:
        monkeypatch.setattr(stuck_watch, "DIAGNOSE_BOUND_S", 0.01)
    found = asyncio.run(body())
    assert [one.stuck.stack for one in found] == ["then" if hangs else "now"] * 3 * stuck_watch.MAX_AT_ONCE
