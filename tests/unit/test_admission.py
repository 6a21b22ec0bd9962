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
