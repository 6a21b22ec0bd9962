"""Calls that may block: waits are bounded, each key's calls run in order, and none delays the others for long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from supervisor.node.storage import lane as lane_module
from supervisor.node.storage.lane import MAX_HANGING, Lane, Late

SOON_S = 10.0
"""A bound for what comes at once."""


@contextmanager
def open_lane(threads: int = 2, hangs_after_s: float = 60.0) -> Iterator[Lane]:
    made = Lane("test", threads=threads, hangs_after_s=hangs_after_s)
    made.start()
    yield made
    assert made.close(SOON_S)


@contextmanager
def stalled() -> Iterator[Callable[[], str]]:
    """A call that does not come back before the end of the block."""
    go_on = threading.Event()

    def stall() -> str:
        assert go_on.wait(SOON_S)
        return "late"

    try:
        yield stall
    finally:
        go_on.set()


def fail() -> None:
    raise OSError("no")


def test_answers_and_errors_come_back() -> None:
    async def body(lane: Lane) -> None:
        assert await lane.call(lambda a, b: a + b, 1, 2, timeout_s=SOON_S) == 3
        with pytest.raises(OSError, match="no"):
            await lane.call(fail, timeout_s=SOON_S)

    with open_lane() as lane:
        asyncio.run(body(lane))


@pytest.mark.parametrize(("key", "passes"), [("other", True), ("same", False)])
def test_a_call_that_hangs_holds_up_its_key_alone(key: str, passes: bool) -> None:
    async def body(lane: Lane, stall: Callable[[], str]) -> None:
        first = lane.later(stall, key="same")
        with pytest.raises(Late):
            await lane.answer(first, 0.01)
        second = lane.later(lambda: "second", key=key)
        if passes:
            assert await lane.answer(second, SOON_S) == "second"
        else:
            with pytest.raises(Late):
                await lane.answer(second, 0.05)
            assert not second.running()
        assert not first.done()

    with open_lane() as lane, stalled() as stall:
        asyncio.run(body(lane, stall))


def test_calls_of_one_key_keep_their_order() -> None:
    seen: list[int] = []

    async def body(lane: Lane) -> None:
        for number in range(200):
            lane.later(seen.append, number, key="one")
        await lane.call(int, key="one", timeout_s=SOON_S)

    with open_lane(threads=4) as lane:
        asyncio.run(body(lane))
    assert seen == list(range(200))


@pytest.mark.parametrize("replaced", [True, False])
def test_a_thread_that_hangs_is_replaced_and_named_until_it_comes_back(replaced: bool) -> None:
    async def body(lane: Lane, stall: Callable[[], str]) -> None:
        hanging = [lane.later(stall, key=str(number), place="STATE_DIR/x") for number in range(2)]
        while not all(future.running() for future in hanging):
            await asyncio.sleep(0)
        with pytest.raises(Late):
            await lane.answer(hanging[0], 0.02)
        if replaced:
            assert await lane.call(lambda: "through", timeout_s=SOON_S) == "through"
            assert "STATE_DIR/x" in lane.problem
        else:  # the control: without, nothing comes through
            with pytest.raises(Late):
                await lane.call(lambda: "through", timeout_s=0.1)
            assert lane.problem == ""

    with open_lane(threads=2, hangs_after_s=0.01 if replaced else 60.0) as lane:
        with stalled() as stall:
            asyncio.run(body(lane, stall))
        asyncio.run(lane.call(int, timeout_s=SOON_S))
    assert lane.problem == ""


def test_only_so_many_are_replaced() -> None:
    async def body(lane: Lane, stall: Callable[[], str]) -> None:
        futures = [lane.later(stall) for _ in range(MAX_HANGING + 5)]
        for _ in range(MAX_HANGING + 5):
            with pytest.raises(Late):
                await lane.answer(futures[-1], 0.01)
        assert sum(future.running() for future in futures) == MAX_HANGING + 1

    with open_lane(threads=1, hangs_after_s=0.0) as lane, stalled() as stall:
        asyncio.run(body(lane, stall))


@pytest.mark.parametrize("drop", [True, False])
def test_what_was_not_begun_is_dropped_only_if_it_may_be(drop: bool) -> None:
    done: list[str] = []

    async def body(lane: Lane, stall: Callable[[], str]) -> None:
        lane.later(stall)
        waiting = lane.later(done.append, "done")
        with pytest.raises(Late):
            await lane.answer(waiting, 0.01, drop=drop)

    with open_lane(threads=1) as lane, stalled() as stall:
        asyncio.run(body(lane, stall))
    assert done == ([] if drop else ["done"])


def test_too_many_calls_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "MAX_WAITING", 3)
    with open_lane(threads=1) as lane, stalled() as stall:
        running = lane.later(stall)
        while not running.running():
            pass
        waiting = [lane.later(int) for _ in range(3)]
        assert isinstance(lane.later(int).exception(), Late)
    assert [future.result() for future in waiting] == [0, 0, 0]


def test_the_end_does_not_wait_for_what_hangs() -> None:
    lane = Lane("test", threads=1)
    lane.start()
    with stalled() as stall:
        lane.later(stall)
        assert not lane.close(0.01)
        assert isinstance(lane.later(int).exception(), Late)
    assert lane.close(SOON_S)
