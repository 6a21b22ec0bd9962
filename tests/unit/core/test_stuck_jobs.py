"""Jobs that hang, on an engine without processes: the rule that names each, and the stop where it is configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.core.jobs.model import Reason, Rule, State
from supervisor.core.supervisor import Supervisor
from supervisor.engine.report import (
    Heartbeat,
    OutputReport,
)
from tests.support.core import begun, cancel, ended, events, running_on, state, types, until
from tests.support.fake_engine import FakeEngine

pytestmark = pytest.mark.anyio


async def test_stuck_jobs_have_their_rule(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, stuck_no_event_s=0.05) as supervisor:
        record, attempt = await begun(supervisor, engine)
        await until(lambda: value(supervisor, "stuck_jobs", rule="no_event") == 1)
        assert value(supervisor, "stuck_jobs", rule="no_heartbeat") == 0
        cancel(supervisor, record)
        attempt.prove(gone_ms=5.0)
        await ended(record)
        assert value(supervisor, "stuck_jobs", rule="no_event") == 0


async def test_a_job_that_writes_again_is_no_longer_stuck(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path) as supervisor:
        record, attempt = await begun(supervisor, engine, stuck_no_event_s=0.05)
        await until(lambda: record.stuck is not None and "job.stuck" in types(record))
        attempt.report(Heartbeat())  # its runner is well, and its task as silent as before
        supervisor.stuck_watch.look(supervisor.clock.now())
        assert record.stuck is not None
        attempt.report(OutputReport("terminal", ("again\r\n",)))
        supervisor.stuck_watch.look(supervisor.clock.now())
        assert record.stuck is None
        await until(lambda: "job.unstuck" in types(record))
        told = next(event for event in events(record) if event["type"] == "job.unstuck")
        assert told["rule"] == "no_event"
        attempt.prove()
        await ended(record)


async def test_a_job_whose_runner_is_silent_is_stopped_where_that_was_asked_for(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_on(engine, tmp_path, stuck_after_s=1, stuck_action="cancel") as supervisor:
        record, attempt = await begun(supervisor, engine)
        supervisor.stuck_watch.look(supervisor.clock.now() + 10.0)
        await until(lambda: bool(attempt.stops))
        assert state(record) is State.CANCELLING
        assert record.job.cancellation is not None
        assert record.job.cancellation.reason is Reason.STUCK
        assert (record.job.cancellation.detail or "").startswith(str(Rule.NO_HEARTBEAT))
        attempt.prove(gone_ms=5.0)
        await ended(record)
        assert types(record).index("job.stuck") < types(record).index("cancel.requested")


def value(supervisor: Supervisor, name: str, **labels: str) -> float | None:
    return supervisor.metrics.registry.get_sample_value(f"deadstop_{name}", labels)
