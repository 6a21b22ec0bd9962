"""The state machine of a job: events go in, and the effects that come out are compared as lists."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.jobs.inputs import (
    Bound,
    CancelRequested,
    Effect,
    Emit,
    Finish,
    Input,
    Reported,
    StartRefused,
    StartTimeout,
    StopAttempt,
)
from supervisor.core.jobs.machine import Life, RefusedTransition, step
from supervisor.core.jobs.model import Cause, Job, JobRequest, Method, Reason, State
from supervisor.engine.containment import Level, Proof, Survivor
from supervisor.engine.report import Acknowledged, Began, Ended, JobError, Signalled, Unproven

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BROKEN = JobError("signalled", "ended by SIGKILL", signal="SIGKILL")
GONE = Ended(Proof.ECHILD, BROKEN, processes_seen=3, gone_ms=40.0, workspace_removed=True)


def a_life(timeout_s: float | None = None) -> Life:
    return Life(Job("j", JobRequest("demo", {}, timeout_s=timeout_s), NOW, Level.SUBREAPER))


def cancel(reason: Reason = Reason.API, *, force: bool = False) -> CancelRequested:
    return CancelRequested(Cause(reason, 1.0, NOW, force=force), 2.0)


def play(*facts: Input, life: Life | None = None) -> tuple[Job, list[Effect]]:
    life = life or a_life()
    effects: list[Effect] = []
    for fact in facts:
        life, more = step(life, fact, NOW)
        effects += more
    return life.job, effects


def types(effects: list[Effect]) -> list[str]:
    return [effect.type if isinstance(effect, Emit) else type(effect).__name__ for effect in effects]


def test_success_waits_for_the_sweep() -> None:
    job, effects = play(Bound(), Began({"pid": 7}), Reported(result={"a": 1}))
    assert (job.state, job.phase, job.result) == (State.RUNNING, "cleanup", None)
    assert types(effects) == ["job.starting", "job.running", "job.phase"]
    job, effects = play(Bound(), Began({"pid": 7}), Reported(result={"a": 1}), replace(GONE, leftovers=2))
    assert (job.state, job.result, job.leftovers, job.phase) == (State.SUCCEEDED, {"a": 1}, 2, None)
    assert types(effects)[-2:] == ["job.succeeded", "Finish"]


def test_a_queued_job_that_is_cancelled_never_starts() -> None:
    job, effects = play(cancel())
    assert types(effects) == ["cancel.requested", "cancel.verified", "job.cancelled", "Finish"]
    assert job.cancellation is not None
    assert (job.cancellation.method, job.cancellation.proof) == (Method.NEVER_STARTED, Proof.NEVER_STARTED)


@pytest.mark.parametrize("facts", [(Bound(),), (Bound(), Began({"pid": 7}))], ids=["starting", "running"])
def test_cancel_stops_the_attempt_and_waits_for_the_proof(facts: tuple[Input, ...]) -> None:
    job, effects = play(*facts, cancel())
    assert job.state is State.CANCELLING
    assert types(effects)[-2:] == ["cancel.requested", "StopAttempt"]
    job, effects = play(*facts, cancel(), Acknowledged(3.0), GONE)
    assert job.state is State.CANCELLED
    assert job.cancellation is not None
    assert job.cancellation.within_budget is True
    assert job.cancellation.acknowledged_ms == 3.0
    assert types(effects)[-4:] == ["cancel.acknowledged", "cancel.verified", "job.cancelled", "Finish"]


@pytest.mark.parametrize(
    ("signals", "method"),
    [
        ((), Method.COOPERATIVE),
        ((Signalled("SIGTERM", {"pids": [1]}, 250.0),), Method.SIGTERM),
        ((Signalled("SIGTERM", {"pids": [1]}, 250.0), Signalled("SIGKILL", {"pids": [1]}, 1200.0)), Method.SIGKILL),
    ],
)
def test_the_method_is_the_strongest_step_that_was_needed(signals: tuple[Input, ...], method: Method) -> None:
    job, _ = play(Bound(), Began({"pid": 7}), cancel(), *signals, GONE)
    assert job.cancellation is not None
    assert job.cancellation.method is method


def test_the_cancel_wins_over_the_failure_that_it_causes() -> None:
    job, _ = play(Bound(), Began({"pid": 7}), cancel(), Reported(error=BROKEN), GONE)
    assert (job.state, job.error) == (State.CANCELLED, None)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("reason", Reason)
def test_a_cause_after_the_result_hurries_the_sweep_and_changes_nothing_else(reason: Reason, force: bool) -> None:
    before = (Bound(), Began({"pid": 7}), Reported(result=1))
    stop = cancel(reason, force=force)
    job, effects = play(*before, stop)
    assert (job.state, job.cancellation) == (State.RUNNING, None)
    assert types(effects)[3:] == ["StopAttempt"]
    assert effects[-1] == StopAttempt(stop.cause, stop.budget_s)
    job, _ = play(*before, stop, GONE)
    assert (job.state, job.cancellation, job.result) == (State.SUCCEEDED, None, 1)


def test_a_second_report_changes_nothing() -> None:
    job, effects = play(
        Bound(), Began({"pid": 7}), Reported(result=1), Reported(result=2), Reported(error=BROKEN), GONE
    )
    assert (job.state, job.result, job.error) == (State.SUCCEEDED, 1, None)
    assert types(effects).count("job.phase") == 1


def test_a_timeout_ends_as_timed_out() -> None:
    job, effects = play(Bound(), Began({"pid": 7}), cancel(Reason.TIMEOUT), GONE, life=a_life(timeout_s=3.0))
    assert job.state is State.TIMED_OUT
    assert StartTimeout(3.0) in effects
    assert types(effects)[-2:] == ["job.timed_out", "Finish"]


def test_the_first_cause_is_kept_and_severity_only_rises() -> None:
    job, effects = play(Bound(), cancel(Reason.CLIENT_DISCONNECTED), cancel(Reason.API), cancel(force=True), cancel())
    assert job.cancellation is not None
    assert (job.cancellation.reason, job.cancellation.force) == (Reason.CLIENT_DISCONNECTED, True)
    assert types(effects).count("StopAttempt") == 2
    assert types(effects).count("cancel.requested") == 1


def test_without_a_proof_it_stays_cancelling_and_names_the_survivors() -> None:
    survivor = Survivor(9, "sleep", "disk-sleep")
    job, effects = play(Bound(), Began({"pid": 7}), cancel(), Unproven((survivor,)))
    assert job.state is State.CANCELLING
    assert job.cancellation is not None
    assert job.cancellation.survivors == (survivor,)
    assert job.cancellation.proof is Proof.NONE
    assert effects[-1] == Emit("cancel.unproven", {"survivors": [{"pid": 9, "name": "sleep", "status": "disk-sleep"}]})
    late = replace(GONE, proof=Proof.ADOPTED_REAPED, gone_ms=5000.0)
    job, _ = play(Bound(), Began({"pid": 7}), cancel(), Unproven((survivor,)), late)
    assert job.state is State.CANCELLED
    assert job.cancellation is not None
    assert (job.cancellation.within_budget, job.cancellation.survivors) == (False, ())


def test_a_death_without_a_word_is_a_failure() -> None:
    job, effects = play(Bound(), Began({"pid": 7}), GONE)
    assert (job.state, job.error) == (State.FAILED, BROKEN)
    assert types(effects)[-2:] == ["job.failed", "Finish"]


def test_a_refused_fact_carries_the_story() -> None:
    with pytest.raises(
        RefusedTransition, match=r"cannot take Bound in state running; so far: queued → Bound: starting"
    ):
        play(Bound(), Began({"pid": 7}), Bound())


facts = st.sampled_from(
    [
        cancel(),
        cancel(force=True),
        cancel(Reason.TIMEOUT),
        Bound(),
        Began({"pid": 7}),
        Reported(result=1),
        Reported(error=BROKEN),
        Acknowledged(1.0),
        Signalled("SIGTERM", {"pids": [1]}, 250.0),
        Signalled("SIGKILL", {"pids": [1]}, 1200.0),
        Unproven((Survivor(9, "x", "zombie"),)),
        GONE,
        StartRefused(BROKEN),
    ]
)


@given(st.lists(facts, max_size=25))
def test_whatever_happens_the_end_is_written_once_and_never_cancelled_without_a_proof(happened: list[Input]) -> None:
    life = a_life()
    finished = 0
    for fact in happened:
        ended = life.job.state.terminal
        try:
            after, effects = step(life, fact, NOW)
        except RefusedTransition:
            continue
        if ended:
            assert after.job == life.job
            assert effects == []
        finished += effects.count(Finish())
        life = after
    assert finished == int(life.job.state.terminal)
    if life.job.state in (State.CANCELLED, State.TIMED_OUT):
        assert life.job.cancellation is not None
        assert life.job.cancellation.proof is not Proof.NONE
        assert life.job.cancellation.survivors == ()
