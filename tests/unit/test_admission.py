from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from supervisor.core.running.queue import Queue, Slot
from supervisor.errors import QueueFull
from supervisor.tokens import TokenLimits


def on_a_loop(body: Callable[[], None]) -> None:
    async def run() -> None:
        body()

    asyncio.run(run())


def admitted(*places: Slot) -> list[bool]:
    return [place.admitted.is_set() for place in places]


def test_one_token_at_its_bound_does_not_block_the_others() -> None:
    def body() -> None:
        admission = Queue(3, 10, {"a": TokenLimits(max_running=1)})
        a1, a2, a3, b1 = (admission.enter(token) for token in "aaab")
        assert admitted(a1, a2, a3, b1) == [True, False, False, True]
        admission.leave(b1)
        assert admitted(a2, a3) == [False, False]
        admission.leave(a1)
        assert admitted(a2, a3) == [True, False]
        b2, b3, b4 = (admission.enter("b") for _ in range(3))
        assert admitted(b2, b3, b4) == [True, True, False]
        # The oldest job that may run comes first.
        admission.leave(a2)
        assert admitted(a3, b4) == [True, False]
        for place in (a3, b2, b3, b4):
            admission.leave(place)
        assert admission.waiting == 0
        assert admitted(*(admission.enter("b") for _ in range(3))) == [True] * 3

    on_a_loop(body)


def test_a_token_has_its_own_queue_bound_within_the_servers() -> None:
    def body() -> None:
        admission = Queue(1, 3, {"a": TokenLimits(max_queued=1), "none": TokenLimits(max_queued=0)})
        first = admission.enter("a")
        second = admission.enter("a")
        with pytest.raises(QueueFull, match="1 jobs of token 'a' already wait, its limit"):
            admission.enter("a")
        with pytest.raises(QueueFull, match="'none'"):
            admission.enter("none")
        waiting = [admission.enter("b"), admission.enter("b")]
        with pytest.raises(QueueFull, match="MAX_QUEUED"):
            admission.enter("b")
        admission.leave(second)
        admission.leave(waiting[0])
        admission.leave(first)
        assert admitted(waiting[1]) == [True]
        admission.leave(waiting[1])
        assert admitted(admission.enter("none")) == [True]

    on_a_loop(body)


def test_a_closed_queue_admits_no_job_and_keeps_those_that_wait() -> None:
    def body() -> None:
        admission = Queue(2, 10)
        first, second, third = (admission.enter() for _ in range(3))
        admission.close()
        admission.leave(first)
        late = admission.enter("other")
        assert admitted(second, third, late) == [True, False, False]
        assert admission.waiting == 2

    on_a_loop(body)


def test_a_job_that_was_admitted_before_waits_in_a_full_queue() -> None:
    def body() -> None:
        admission = Queue(1, 0)
        first = admission.enter()
        with pytest.raises(QueueFull) as refusal:
            admission.enter()
        assert refusal.value.retry_after_s == 1
        with admission.enter(again=True) as again:
            assert (admitted(again), admission.waiting) == ([False], 1)
            admission.leave(first)
            assert (admitted(again), admission.waiting) == ([True], 0)
        assert admitted(admission.enter()) == [True]

    on_a_loop(body)


def test_the_bounds_are_exact_and_the_oldest_place_is_next() -> None:
    def body() -> None:
        admission = Queue(2, 3, {"a": TokenLimits(max_running=2, max_queued=2), "b": TokenLimits(max_running=1)})
        first, second = admission.enter("a"), admission.enter("b")
        b, a, last = admission.enter("b"), admission.enter("a"), admission.enter("a")
        assert admitted(first, second, b, a, last) == [True, True, False, False, False]
        with pytest.raises(QueueFull, match="3 jobs already wait"):
            admission.enter("c")
        admission.leave(first)
        assert admitted(b, a, last) == [False, True, False]
        admission.leave(second)
        assert admitted(b, last) == [True, False]
        admission.leave(b)
        assert admitted(last) == [True]
        admission.leave(a)
        admission.leave(last)
        assert admitted(admission.enter("b"), admission.enter("b")) == [True, False]

    on_a_loop(body)


@pytest.mark.parametrize("limits", [TokenLimits(), TokenLimits(max_queued=1)])
def test_a_queue_above_its_bound_takes_no_other_job(limits: TokenLimits) -> None:
    def body() -> None:
        admission = Queue(0, 1 if limits.max_queued is None else 10, {"a": limits})
        for _ in range(2):
            admission.enter("a", again=True)
        with pytest.raises(QueueFull):
            admission.enter("a")

    on_a_loop(body)


def test_a_bound_above_the_small_numbers_is_exact() -> None:
    def body() -> None:
        admission = Queue(1000, 0, {"a": TokenLimits(max_running=300)})
        assert all(admitted(*(admission.enter("a") for _ in range(300))))
        with pytest.raises(QueueFull):
            admission.enter("a")

    on_a_loop(body)
