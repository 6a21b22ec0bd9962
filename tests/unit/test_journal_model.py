"""The machine and the journal against a model, in any order: reported events are kept, and nothing else comes back."""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from supervisor.core.jobs.inputs import Bound, CancelRequested, Reported, ServerDied
from supervisor.core.jobs.model import Cause, Reason, State
from supervisor.core.jobs.registry import LiveJob
from supervisor.engine.containment import Proof
from supervisor.engine.report import Began, Ended, JobError
from supervisor.errors import StorageFull
from tests.support.journal_model import Expected, Servers
from tests.support.journals import full_disk

TEXT = st.text(max_size=40) | st.integers(0, 3).map(lambda n: "\n\x1b" * n) | st.just(30_000).map("x".__mul__)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
UNTOLD = JobError("exited", "the runner is gone")


class Kept(Servers):
    """One server after the other on one file. Between two rules, every write has been answered."""

    # --- the two ends of a server

    @rule(killed=st.booleans())
    def restart(self, killed: bool) -> None:
        """Every reported event must be there. An event lost in a kill before it was written was never reported."""
        self._make_room()
        if killed:
            self._kill()
        else:
            self.runner.run(self.stack.aclose())
            for job in self.jobs.values():
                self._learn(job)
        self._open()
        contents = self.book.contents
        assert {entry.id for entry in contents.entries} == set(self.jobs)
        rows = {row.job.id: row for row in contents.unfinished}
        for entry in contents.entries:
            expected = self.jobs[entry.id]
            events = self.runner.run(self._read(entry.seq, entry.id, entry.last_event_id))
            assert events[: len(expected.told)] == expected.told
            assert [event.id for event in events] == list(range(1, entry.last_event_id + 1))
            expected.told = events
            assert entry.state.terminal is (entry.id not in rows)
            ends = [event.type for event in events if event.type == f"job.{entry.state}"]
            assert len(ends) == (1 if entry.state.terminal else len(ends))
            if entry.id in rows:
                expected.record = self.book.record(rows[entry.id].job, entry.seq, entry.last_event_id)
                self.book.journal.add(expected.record, new=False)
                if entry.state is not State.QUEUED:
                    self._apply(expected, ServerDied(JobError("lost", "the server ended")))
                    assert expected.record.job.state is State.LOST
            else:
                assert expected.record.job.state in {entry.state, State.QUEUED, State.RUNNING, State.CANCELLING}
        self._settle()

    # --- what happens to jobs

    @rule(text=TEXT, large=st.booleans())
    def submit(self, text: str, large: bool) -> None:
        self.number += 1
        job_id = f"job-{self.number}"

        async def take() -> LiveJob | None:
            record = self.book.new(job_id, text=text * (20 if large else 1), pad="p" * 40_000 if large else "")
            try:
                await self.book.journal.accepted(record)
            except StorageFull:
                assert record in self.book.refused
                assert job_id not in self.book.told
                return None
            return record

        record = self.runner.run(take())
        if record is None:
            assert self.is_full
        else:
            self.jobs[job_id] = Expected(record)
            self._settle()

    def _some(self, data: st.DataObject, *states: State) -> Expected | None:
        fitting = [job for job in self.jobs.values() if job.record.job.state in states]
        return data.draw(st.sampled_from(fitting)) if fitting else None

    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        job = self._some(data, State.QUEUED)
        if job is not None:
            self._apply(job, Bound())
            self._apply(job, Began({"pid": 1}))
            self._settle()

    @rule(data=st.data(), texts=st.lists(TEXT, max_size=30))
    def say(self, data: st.DataObject, texts: list[str]) -> None:
        job = self._some(data, State.RUNNING, State.CANCELLING)
        if job is not None:
            self._speak(job, texts)
            self._settle()

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = self._some(data, State.QUEUED, State.RUNNING, State.CANCELLING)
        if job is not None:
            self._apply(job, CancelRequested(Cause(Reason.API, 0.0, NOON), 2.0))
            self._settle()

    @rule(data=st.data(), result=st.none() | st.integers() | TEXT)
    def end(self, data: st.DataObject, result: int | str | None) -> None:
        job = self._some(data, State.RUNNING, State.CANCELLING)
        if job is not None:
            if job.record.job.state is State.RUNNING:
                self._apply(job, Reported(result=result))
            self._apply(job, Ended(Proof.ECHILD, UNTOLD, gone_ms=1.0))
            self._settle()
            assert job.record.finished.is_set()

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        job = self._some(data, *(state for state in State if state.terminal))
        if job is not None and not self.is_full:
            seq = job.record.seq

            async def drop() -> None:
                self.book.journal.forget(seq)
                await self.book.journal.written()

            self.runner.run(drop())
            del self.jobs[job.record.job.id]
            self.gone.add(job.record.job.id)

    # --- the disk

    @precondition(lambda self: not self.is_full)
    @rule(text=TEXT)
    def fill(self, text: str) -> None:
        self.full.enter_context(full_disk(self.book.journal))
        self.is_full = True
        for job in self.jobs.values():
            if not job.record.log.closed:
                self._speak(job, [text, "y" * 30_000])
        self._settle()

    @precondition(lambda self: self.is_full)
    @rule()
    def make_room(self) -> None:
        self._make_room()
        self._settle()
        assert self.book.journal.error == ""

    @invariant()
    def what_was_told_is_kept(self) -> None:
        if self.is_full or not hasattr(self, "book"):
            return
        with sqlite3.connect(self.folder / "journal.sqlite3") as connection:
            kept = dict(connection.execute("SELECT id, last_event_id FROM jobs"))
        connection.close()
        assert kept == {job_id: len(job.told) for job_id, job in self.jobs.items()}


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Kept,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=[phase for phase in Phase if phase is not Phase.shrink] if examples < 20 else list(Phase),
            suppress_health_check=list(HealthCheck),
            derandomize="DEADSTOP_SEED" not in os.environ,
        ),
    )


def test_a_few_histories() -> None:
    _run(examples=20, steps=20)


@pytest.mark.suite
@pytest.mark.timeout(1800)
def test_many_histories() -> None:
    _run(examples=300, steps=60)
