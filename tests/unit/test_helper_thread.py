"""A thread that hangs, dies or raises is noticed, abandoned and replaced, and its work is done by the new one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from supervisor.errors import StartupError
from supervisor.guardian.environment import passed_environment
from supervisor.node.workers import helper_thread
from supervisor.node.workers.helper_thread import HelperThread, Unit
from supervisor.node.workers.starter import Starter

BOUND_S = 10.0
GIVE_UP_S = 0.1


@contextmanager
def helper(*, give_up_after_s: float = BOUND_S) -> Iterator[HelperThread]:
    made = HelperThread("deadstop-test", give_up_after_s=give_up_after_s)
    try:
        yield made
    finally:
        made.close(BOUND_S)


def waits(event: threading.Event) -> Callable[[], None]:
    def work() -> None:
        event.wait(BOUND_S)

    return work


def done(thread: HelperThread) -> None:
    """Wait until what was put before has been done."""
    event = threading.Event()
    thread.put(Unit("telling", event.set))
    assert event.wait(BOUND_S)


@pytest.mark.parametrize(
    "error", [OSError(24, "Too many open files"), RuntimeError("bug"), SystemExit(), MemoryError()]
)
def test_a_unit_that_raises_is_logged_and_the_next_one_is_done(
    error: BaseException, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    with helper() as thread:
        thread.put(Unit("failing on purpose", fail))
        done(thread)
        assert (thread.trouble, thread.replaced) == (None, 0)
    assert "failing on purpose" in "".join(capfd.readouterr())


def test_a_unit_that_hangs_is_freed_by_its_late_action() -> None:
    held = threading.Event()
    with helper() as thread:
        thread.put(Unit("waiting", waits(held), late=((0.02, held.set),)))
        done(thread)
        assert thread.replaced == 0


def test_a_unit_that_hangs_for_good_is_given_up_with_its_thread() -> None:
    """Twice: the spare that took over is watched as the first thread was."""
    held, told = threading.Event(), threading.Semaphore(0)
    with helper(give_up_after_s=GIVE_UP_S) as thread:
        for count in (1, 2):
            thread.put(Unit("hanging", waits(held), given_up=told.release))
            assert told.acquire(timeout=BOUND_S)
            done(thread)
            assert (thread.replaced, thread.trouble) == (count, None)
            assert "hanging" in str(thread.last_replaced)
        held.set()  # the threads that were given up end now, as the leak check sees


def test_a_hanging_thread_says_so_while_it_hangs() -> None:
    held, late = threading.Event(), threading.Event()
    with helper() as thread:
        thread.put(Unit("hanging", waits(held), late=((0.02, late.set),)))
        assert late.wait(BOUND_S)
        assert "hangs: it has been hanging for" in str(thread.trouble)
        held.set()
        done(thread)
        assert thread.trouble is None


def test_a_thread_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that a unit's guard does not catch: here the guard itself raises, once."""
    guard, died = helper_thread._do, threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _args: died.set())

    def raises_once(*_args: object) -> None:
        monkeypatch.setattr(helper_thread, "_do", guard)
        raise ValueError("the guard itself")

    with helper() as thread:
        monkeypatch.setattr(helper_thread, "_do", raises_once)
        thread.put(Unit("dying", lambda: None))
        assert died.wait(BOUND_S)
        done(thread)
        assert (thread.replaced, thread.last_replaced, thread.trouble) == (1, "it ended", None)


def test_without_room_for_one_more_thread_the_spare_serves_and_another_is_made_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, told = threading.Event(), threading.Event()
    start = threading.Thread.start

    def refused(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with helper(give_up_after_s=GIVE_UP_S) as thread:
        monkeypatch.setattr(threading.Thread, "start", refused)
        thread.put(Unit("hanging", waits(held), given_up=told.set))
        assert told.wait(BOUND_S)
        done(thread)
        assert thread._spare is None
        thread.mend()
        assert thread._spare is None
        monkeypatch.setattr(threading.Thread, "start", start)
        thread.mend()
        assert thread._spare is not None
        held.set()


def test_closing_returns_what_was_not_done() -> None:
    held = threading.Event()
    thread = HelperThread("deadstop-test", give_up_after_s=BOUND_S)
    thread.put(Unit("hanging", waits(held)))
    left = Unit("never begun", lambda: None)
    thread.put(left)
    assert thread.close(0.05) == [left]
    held.set()


@pytest.mark.parametrize("room", [0, 1])
def test_a_server_without_room_for_the_threads_does_not_start(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    start, left = threading.Thread.start, [room]

    def limited(thread: threading.Thread) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(StartupError, match="raise the limit of processes"):
        Starter(passed_environment())
