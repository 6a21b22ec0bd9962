"""The clock for deadlines of clients and jobs stops while the server is suspended."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from supervisor.core.jobs.model import Cause, Job, JobRequest
from supervisor.core.loop import awake_clock
from supervisor.core.loop.awake_clock import TICK_S, AwakeClock
from supervisor.core.streams.leases import Leases
from supervisor.engine.containment import Level
from tests.support.clock import SteppedClock

pytestmark = pytest.mark.anyio


def test_a_sleep_does_not_count_but_ordinary_lateness_does() -> None:
    clock = SteppedClock()
    began = clock.awake.now()
    clock.step(1.0)
    clock.sleep(0.4)
    assert clock.awake.now() - began == pytest.approx(1.4)
    clock.sleep(3600.0)
    assert clock.awake.now() - began == pytest.approx(1.4 + TICK_S)


async def test_a_timer_waits_for_what_was_slept_through() -> None:
    clock = SteppedClock()
    called: list[str] = []
    timer = clock.awake.call_later(2 * TICK_S, called.append, "due")
    cancelled = clock.awake.call_later(2 * TICK_S, called.append, "cancelled")
    cancelled.cancel()
    clock.sleep(3600.0)
    timer._look()
    assert called == []
    clock.step(2 * TICK_S)
    timer._look()
    assert called == ["due"]


async def test_a_wait_is_bounded_by_the_time_awake() -> None:
    clock = AwakeClock()
    never, came = asyncio.Event(), asyncio.Event()
    came.set()
    await asyncio.wait_for(clock.wait_any([never.wait(), came.wait()], 60), 5)
    await asyncio.wait_for(clock.wait_any([never.wait()], 0.01), 5)


async def test_a_lease_outlasts_a_sleep_and_can_then_be_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the control: with a clock that counts the sleep, the lease is over."""
    for slept_s, stall_s, expected in ((3600.0, awake_clock.STALL_S, 0), (3600.0, 1e9, 1)):
        monkeypatch.setattr(awake_clock, "STALL_S", stall_s)
        clock = SteppedClock()
        leases = Leases(clock.awake)
        expired: list[Cause] = []
        job = Job("j", JobRequest("demo", {}, lease_s=2.0), datetime(2026, 1, 1, tzinfo=UTC), Level.SUBREAPER)
        leases.begin(job, expired.append)
        clock.step(1.0)
        clock.sleep(slept_s)
        leases._running["j"].timer._look()
        assert len(expired) == expected
        if not expected:
            leases.renew(job)
            clock.step(1.9)
            leases._running["j"].timer._look()
            assert expired == []
            clock.step(0.2)
            leases._running["j"].timer._look()
            assert len(expired) == 1
