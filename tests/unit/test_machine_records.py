"""Records of the state machine: the fields of the proof, the events, and the inputs it rejects in each state."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from supervisor.core.jobs import inputs as facts
from supervisor.core.jobs import machine
from supervisor.core.jobs.inputs import Bound, Input, Reported, ServerDied, StartRefused, StopAttempt
from supervisor.core.jobs.machine import Life, RefusedTransition, step
from supervisor.core.jobs.model import Cancellation, State
from supervisor.engine import report as reports
from supervisor.engine.containment import Proof, Survivor
from supervisor.engine.report import Acknowledged, Began, Ended, JobError, Signalled, Unproven
from tests.unit.test_machine import BROKEN, GONE, NOW, a_life, cancel, play

LIMIT = JobError("memory", "it used more memory than it may")
RUNNING = (Bound(), Began({"pid": 7}))
CANCELLING = (*RUNNING, cancel())
SUCCEEDED = (*RUNNING, Reported(result=1), GONE)
SURVIVOR = Survivor(9, "sleep", "disk-sleep")


def proof_of(*happened: Input) -> Cancellation:
    job, _ = play(*happened)
    assert job.cancellation is not None
    return job.cancellation


def test_a_job_that_never_started_was_gone_at_once() -> None:
    proof = proof_of(cancel())
    assert (proof.gone_ms, proof.workspace_removed, proof.within_budget, proof.survivors) == (0.0, True, True, ())


@pytest.mark.parametrize(
    ("gone_ms", "within"), [(0.0, True), (1999.9, True), (2000.0, True), (2000.1, False), (None, False)]
)
def test_the_budget_includes_its_last_millisecond(gone_ms: float | None, within: bool) -> None:
    assert proof_of(*CANCELLING, replace(GONE, gone_ms=gone_ms)).within_budget is within


@pytest.mark.parametrize("removed", [True, False])
def test_whether_the_workspace_went_is_as_the_attempt_says(removed: bool) -> None:
    assert proof_of(*CANCELLING, replace(GONE, workspace_removed=removed)).workspace_removed is removed


def test_survivors_mean_that_the_budget_is_over() -> None:
    assert proof_of(*CANCELLING, Unproven((SURVIVOR,))).within_budget is False


def test_what_the_attempt_measured_counts_and_else_what_was_seen() -> None:
    seen = (Acknowledged(1.0), Signalled("SIGTERM", {"pids": [1]}, 2.0), Signalled("SIGKILL", {"pids": [1]}, 3.0))
    kept = proof_of(*CANCELLING, *seen, GONE)
    assert (kept.acknowledged_ms, kept.terminated_ms, kept.killed_ms) == (1.0, 2.0, 3.0)
    measured = replace(GONE, acknowledged_ms=0.0, terminated_ms=0.0, killed_ms=0.0)
    assert proof_of(*CANCELLING, *seen, measured).acknowledged_ms == 0.0
    assert proof_of(*CANCELLING, *seen, measured).terminated_ms == 0.0
    assert proof_of(*CANCELLING, *seen, measured).killed_ms == 0.0


def test_a_limit_explains_a_failure_and_no_success() -> None:
    limited = replace(GONE, limit=LIMIT)
    assert play(*RUNNING, limited)[0].error == LIMIT
    assert play(*RUNNING, Reported(error=BROKEN), limited)[0].error == LIMIT
    assert play(*RUNNING, Reported(error=BROKEN), GONE)[0].error == BROKEN
    job, _ = play(*RUNNING, Reported(result=1), limited)
    assert (job.state, job.error, job.result) == (State.SUCCEEDED, None, 1)


@pytest.mark.parametrize("before", [RUNNING, CANCELLING], ids=["running", "cancelling"])
def test_a_lost_job_ended_when_its_processes_did_if_that_is_known(before: tuple[Input, ...]) -> None:
    died = NOW - timedelta(seconds=5)
    assert play(*before, ServerDied(BROKEN, died))[0].finished_at == died
    job, _ = play(*before, ServerDied(BROKEN))
    assert (job.state, job.finished_at, job.error) == (State.LOST, NOW, BROKEN)


def test_force_is_raised_once_and_never_taken_back() -> None:
    def stops(*happened: Input) -> int:
        return sum(isinstance(effect, StopAttempt) for effect in play(*RUNNING, *happened)[1])

    assert stops(cancel(), cancel()) == 1
    assert stops(cancel(), cancel(force=True)) == 2
    assert stops(cancel(force=True), cancel()) == 1
    assert stops(cancel(force=True), cancel(force=True)) == 1
    assert proof_of(*RUNNING, cancel(force=True), cancel()).force is True


@pytest.mark.parametrize(
    ("before", "refused"),
    [
        ((), [Began({"pid": 7}), Reported(result=1), GONE, Acknowledged(1.0), Unproven(()), ServerDied(BROKEN)]),
        ((Bound(),), [Bound()]),
        (RUNNING, [Bound(), Began({"pid": 7})]),
        (CANCELLING, [Bound(), StartRefused(BROKEN)]),
        (SUCCEEDED, [Bound(), Began({"pid": 7}), Reported(result=2), GONE, Unproven(()), StartRefused(BROKEN)]),
    ],
    ids=["queued", "starting", "running", "cancelling", "succeeded"],
)
def test_what_a_state_does_not_allow_is_refused(before: tuple[Input, ...], refused: list[Input]) -> None:
    for fact in refused:
        with pytest.raises(RefusedTransition, match=f"cannot take {type(fact).__name__} in state "):
            play(*before, fact)


@pytest.mark.parametrize("late", [cancel(), Acknowledged(1.0), Signalled("SIGKILL", {"pids": [1]}, 3.0)], ids=type)
def test_what_comes_after_the_end_changes_nothing(late: Input) -> None:
    job, effects = play(*SUCCEEDED)
    assert play(*SUCCEEDED, late) == (job, effects)


def test_the_story_is_the_last_fifty_facts() -> None:
    life = a_life()
    for fact in CANCELLING:
        life, _ = step(life, fact, NOW)
    assert life.story == ("queued", "Bound: starting", "Began: running", "CancelRequested: cancelling")
    for number in range(60):
        life, _ = step(life, Acknowledged(float(number)), NOW)
    assert life.story == ("Acknowledged: cancelling",) * 50


def test_what_happens_and_what_is_known_are_values() -> None:
    kinds: list[Any] = [
        one
        for module in (facts, reports)
        for one in vars(module).values()
        if isinstance(one, type) and one.__module__ == module.__name__
    ]
    assert Ended in kinds
    for kind in (*kinds, machine.Life):
        assert kind.__dataclass_params__.frozen, kind
        assert "__slots__" in vars(kind), kind
    assert Life(a_life().job).reported is None
    assert proof_of(*CANCELLING).proof is Proof.NONE
