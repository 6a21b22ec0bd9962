"""Events that wait for the journal's writer are released after a bound, or at once while the disk is known to hang."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.core.journal import unanswered
from supervisor.core.journal.batch import Batch
from supervisor.core.journal.unanswered import Unanswered
from tests.support.core import until


@pytest.mark.parametrize("hangs", [True, False])
def test_a_disk_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    async def body() -> None:
        released: list[Batch] = []
        told: list[str] = []
        kept = Unanswered(released.append, lambda: told.append("hangs"))
        first, second, third = Batch(), Batch(), Batch()
        kept.add(first)
        assert released == []
        await until(lambda: any(batch is first for batch in released))
        if hangs:
            await until(lambda: bool(told))
        released.clear()
        kept.add(second)
        assert any(batch is second for batch in released) is hangs
        await until(lambda: any(batch is second for batch in released))
        kept.answered([first, second])
        released.clear()
        kept.add(third)
        assert released == [], "it answers again"
        assert told == ["hangs"] * hangs
        kept.close()

    monkeypatch.setattr(unanswered, "STALL_BOUND_S", 0.02)
    monkeypatch.setattr(unanswered, "HANGS_AFTER_S", 0.05 if hangs else 60.0)
    asyncio.run(body())
