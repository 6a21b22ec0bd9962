"""Repeated failures: the pauses grow, and a failure is logged only when its message changes."""

from __future__ import annotations

from supervisor.node.workers.retries import FIRST_PAUSE_S, LONGEST_PAUSE_S, Retries


def test_pauses_grow_to_a_bound_and_begin_anew_after_a_success() -> None:
    retries, now, pauses = Retries(), 0.0, []
    for _ in range(100):
        pauses.append(retries.failed("no", now)[0])
        now += pauses[-1]
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S
    assert retries.succeeded() == 100
    assert retries.failed("no", now)[0] == FIRST_PAUSE_S


def test_failures_that_come_together_count_once_and_share_the_pause() -> None:
    retries = Retries(1.0)
    assert [retries.failed("no", now)[0] for now in (10.0, 10.0, 10.25)] == [1.0, 1.0, 0.75]
    assert retries.failures == 1
    assert retries.failed("no", 11.0)[0] == 2.0


def test_only_new_words_are_news() -> None:
    retries = Retries()
    reason = ["cannot use attempt-1", "cannot use attempt-22", "Too many open files", "cannot use attempt-3"]
    assert [retries.failed(one, 0.0)[1] for one in reason] == [True, False, True, True]
    retries.succeeded()
    assert retries.failed("cannot use attempt-3", 0.0)[1]


def test_the_message_says_since_when_and_why() -> None:
    retries = Retries(1.0)
    assert retries.describe("no worker could be started") is None
    retries.failed("Too many open files", 0.0)
    assert "(tried once): Too many open files" in str(retries.describe("no worker could be started"))
    retries.failed("Cannot allocate memory", 1.0)
    describe = str(retries.describe("no worker could be started"))
    assert describe.startswith("no worker could be started since 2")
    assert describe.endswith("Z (tried 2 times): Cannot allocate memory")
    retries.succeeded()
    assert retries.describe("no worker could be started") is None
