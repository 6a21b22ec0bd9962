"""An engine without processes: the test decides what an attempt reports, and when its end is proven."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from unittest.mock import AsyncMock, Mock, create_autospec

from supervisor.engine.containment import ContainmentStatus, Level, Levels, Proof
from supervisor.engine.engine import AttemptListener, JobFiles
from supervisor.engine.inspection import EngineStatus, Opened, StackDump
from supervisor.engine.order import Needs, Order
from supervisor.engine.report import Began, Ended, JobError, Loss
from supervisor.engine.stop import Stop

NO_RESULT = JobError("exited", "it ended without a result", exit_code=1)
LEVELS = Levels(Level.SUBREAPER, dict.fromkeys((Level.PGROUP, Level.CGROUP, Level.PIDNS), "it is not of this test"))
CONTAINMENT = ContainmentStatus(Level.SUBREAPER, ("nothing",), ("everything",), LEVELS.why_not)


class FakeAttempt:
    """An `engine.Attempt`. `begin` and `stop` are for subclasses that answer by themselves."""

    def __init__(self, order: Order, listener: AttemptListener) -> None:
        self.order, self.stops = order, list[Stop]()
        self.report: Any = lambda *reports: list(map(listener.report, reports))
        self.proof: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.processes, self.write, self.waits_for = AsyncMock(return_value=[]), Mock(return_value=0), Mock()
        self.stacks = AsyncMock(return_value=StackDump(None, datetime.now(UTC), "there is no process"))

    def begin(self) -> None: ...

    def runs(self) -> None:
        self.report(Began({"pid": 1}))

    def prove(self, proof: Proof = Proof.ECHILD, error: JobError = NO_RESULT, **fields: Any) -> None:
        self.proof.set_result(Ended(proof, error, **fields))

    def stop(self, stop: Stop) -> None:
        self.stops.append(stop)

    async def ended(self) -> Ended:
        return await asyncio.shield(self.proof)


class FakeEngine:
    """An `engine.Engine`, and each of its reservations: `held` counts those that are not given back."""

    def __init__(self, attempt: type[FakeAttempt] = FakeAttempt, losses: dict[str, Loss] | None = None) -> None:
        self.node, self.refusal, self._make, self.held = "fake", "", attempt, 0
        self.attempts: list[FakeAttempt] = []
        self.failure: Exception | None = None
        self.room, self.prepared = asyncio.Event(), asyncio.Event()
        for gate in (self.room, self.prepared):
            gate.set()
        self.files, self.keep_files, self.stop_watches = create_autospec(JobFiles, instance=True), Mock(), Mock()
        self.open, self.describe, self.close = AsyncMock(return_value=Opened(losses or {}, 0)), AsyncMock(), AsyncMock()
        self.status = Mock(return_value=EngineStatus(LEVELS, CONTAINMENT, frozenset(), 0, {}))

    async def reserve(self, needs: Needs) -> FakeEngine:
        await self.room.wait()
        self.held += 1
        return self

    async def prepare(self, order: Order) -> str:
        await self.prepared.wait()
        return self.refusal

    def start(self, order: Order, listener: AttemptListener) -> FakeAttempt:
        if self.failure is not None:
            self.release()
            raise self.failure
        self.attempts.append(attempt := self._make(order, listener))
        attempt.proof.add_done_callback(lambda _: self.release())
        asyncio.get_running_loop().call_soon(attempt.begin)
        return attempt

    def release(self) -> None:
        self.held -= 1
