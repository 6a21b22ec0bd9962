"""A start that fails is reported and retried with pauses, and a stop needs no resource that can run out."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from supervisor.engine.containment import Level
from supervisor.guardian.headroom import FOR_STOPS
from supervisor.guardian.protocol import Stop
from supervisor.node import checks
from supervisor.node.workers import maker, spawn, starter
from supervisor.node.workers import worker as attempt_set
from supervisor.node.workers.worker import Worker
from tests.support.core import scenario, until
from tests.support.pools import BOUND_S, pool_of, served


def test_a_repeated_failure_is_logged_once_and_reported_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    works, tries = spawn.spawn, itertools.count(1)

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, f"No space left on device: attempt-{next(tries)}")

    async def body() -> None:
        async with pool_of(size=4) as pool:
            await until(lambda: pool.ready == 4)
            monkeypatch.setattr(starter, "spawn", fails)
            with capture_logs() as lines:
                wishes = [await served(pool) for _ in range(4)]
                await until(lambda: "(tried 6 times): cannot start a process: OSError" in str(pool.trouble))
                assert [line["event"] for line in lines] == ["start_failed"]
                monkeypatch.setattr(starter, "spawn", works)
                await until(lambda: pool.ready == 4)
                assert pool.trouble is None
                assert [line["event"] for line in lines] == ["start_failed", "start_works_again"]
            for one in wishes:
                pool.retire(one)

    scenario(body)


def test_while_starts_fail_one_is_tried_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, most = 0, 0

    async def fails(self: maker.WorkerMaker, level: Level) -> Worker:
        nonlocal now, most
        now += 1
        most = max(most, now) if self.fails(level) else most
        await asyncio.sleep(0.01)
        now -= 1
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(maker.WorkerMaker, "_start_and_connect", fails)

    async def body() -> None:
        async with pool_of(size=1) as pool:
            await until(lambda: pool.trouble is not None)
            wishes = [pool.request(Level.SUBREAPER) for _ in range(20)]
            await until(lambda: "tried 3 times" in str(pool.trouble))
            assert most == 1
            for wish in wishes:
                wish.cancel()

    scenario(body)


def test_a_level_that_no_job_waits_for_any_more_troubles_no_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    async def body() -> None:
        async with pool_of() as pool:
            monkeypatch.setattr(starter, "spawn", fails)
            wish = pool.request(Level.CGROUP)
            await until(lambda: pool.trouble is not None)
            wish.cancel()
            await until(lambda: pool.trouble is None, 3)

    scenario(body)


def test_a_start_that_hangs_for_good_is_given_up_and_the_next_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    held, works = threading.Event(), spawn.spawn
    monkeypatch.setattr(starter, "GIVE_UP_AFTER_TIMEOUTS", 1)

    def hangs(*_: object) -> None:
        monkeypatch.setattr(starter, "spawn", works)
        held.wait(BOUND_S)
        raise OSError(errno.EIO, "the disk came back")

    async def body() -> None:
        async with pool_of(start_timeout_s=2.0) as pool:
            monkeypatch.setattr(starter, "spawn", hangs)
            pool.retire(await served(pool))
            check = checks._thread(pool.thread)
            assert check.ok
            assert check.numbers["replaced"] >= 1  # on a busy machine the next start may take too long as well
            assert "starting a process" in check.detail
            held.set()

    scenario(body)


@contextmanager
def only_free(count: int) -> Iterator[None]:
    """This process may open `count` more descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + count, hard))
    gaps = highest + 1 - len(os.listdir("/proc/self/fd")) + 1  # the listing has one of its own
    taken = [os.dup(2) for _ in range(gaps)]
    try:
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_few_descriptors_keep_starts_waiting_and_hold_up_no_stop() -> None:
    async def body() -> None:
        async with pool_of() as pool:
            runs = await served(pool)
            with only_free(FOR_STOPS + 4):
                wish = pool.request(Level.SUBREAPER)
                await until(lambda: "too few descriptors are free" in str(pool.trouble))
                runs.stop(Stop(0.0, 2.0, force=True))
                await until(lambda: runs.guardian.ended)
            pool.retire(await asyncio.wait_for(wish, BOUND_S))

    scenario(body)


def test_a_stop_needs_no_thread_and_no_lock_of_the_jobs_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is held for good, as by a job that took it or that was killed in `is_set`."""

    def refused(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def body() -> None:
        async with pool_of() as pool:
            runs = await served(pool)
            event: Any = runs.started.event
            monkeypatch.setattr(threading.Thread, "start", refused)
            with event._cond:
                for _ in range(3):
                    runs.stop(Stop(0.0, 60.0))
            assert event.is_set()
            assert event._flag.get_value() == 1
            runs.stop(Stop(0.0, 2.0, force=True))
            await until(lambda: runs.guardian.ended)

    scenario(body)


@pytest.mark.parametrize("broken", ["control", "channel", "event"])
def test_a_way_to_stop_that_fails_keeps_none_of_the_others(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with pool_of() as pool:
            runs = await served(pool)
            sent: list[str] = []

            def way(name: str) -> Callable[..., None]:
                def tell(*_: object) -> None:
                    sent.append(name)
                    if name == broken:
                        raise MemoryError

                return tell

            names = {id(runs.control): "control", id(runs.channel): "channel"}
            with monkeypatch.context() as patch:
                patch.setattr(attempt_set.Line, "send", lambda line, _: way(names[id(line)])())
                patch.setattr(type(runs.started), "ask", way("event"))
                runs.stop(Stop(0.0, 2.0))
            assert sent == ["control", "channel", "event"]
            pool.retire(runs)

    scenario(body)
