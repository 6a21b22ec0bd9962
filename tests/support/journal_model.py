"""One server after the other on one journal, and the model of its jobs."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hypothesis.stateful import RuleBasedStateMachine

from supervisor.core.jobs import machine
from supervisor.core.jobs.event_log import Event
from supervisor.core.jobs.inputs import Emit, Finish, Input
from supervisor.core.jobs.registry import LiveJob
from supervisor.errors import StorageFull
from tests.support.journals import Book, book


@dataclass
class Expected:
    """The model of one job: every event that a reader could have received."""

    record: LiveJob
    told: list[Event] = field(default_factory=list)


class Servers(RuleBasedStateMachine):
    """The steps of which the rules are made. Each waits until all that it noted has been answered."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="journal-model-"))
        self.runner = asyncio.Runner()
        self.full = ExitStack()
        self.is_full = False
        self.jobs: dict[str, Expected] = {}
        self.gone: set[str] = set()
        self.number = 0
        self.book: Book
        self._open()

    def _open(self) -> None:
        async def enter() -> None:
            self.stack = AsyncExitStack()
            self.book = await self.stack.enter_async_context(book(self.folder))

        self.runner.run(enter())

    def _kill(self) -> None:
        """The process is gone between two instructions: what the writer has not committed never was."""
        for job in self.jobs.values():
            self._learn(job)
        self.book.journal._writer._write = lambda: None  # type: ignore[method-assign]
        for job in self.jobs.values():
            if not job.record.log.closed:
                job.record.log.append("job.output", {"text": "nobody has seen this"})
        self.runner.run(self.stack.aclose())
        for job in self.jobs.values():
            self._learn(job)

    async def _read(self, seq: int, job_id: str, last: int) -> list[Event]:
        found: list[Event] = []
        while len(found) < last:
            for item in await self.book.journal.events(seq, job_id, len(found), last):
                assert isinstance(item, Event)
                found.append(item)
        return found

    def _apply(self, expected: Expected, fact: Input) -> None:
        """As an owner does."""

        async def on_the_loop() -> None:
            record = expected.record
            record.life, effects = machine.step(record.life, fact, datetime.now(UTC))
            for effect in effects:
                match effect:
                    case Emit(type_, fields):
                        record.log.append(type_, fields)
                    case Finish():
                        record.close()
                    case _:
                        pass

        self.runner.run(on_the_loop())

    def _settle(self) -> None:
        """Wait until every write has been answered."""

        async def wait() -> None:
            try:
                await self.book.journal.written()
            except StorageFull:
                assert self.is_full

        self.runner.run(wait())
        for job in self.jobs.values():
            self._learn(job)

    def _learn(self, job: Expected) -> None:
        told = self.book.told.get(job.record.job.id, [])
        known = len(job.told)
        job.told += [event for event in told if event.id > known]
        assert [event.id for event in job.told] == list(range(1, job.record.log.released_id + 1))

    def _speak(self, job: Expected, texts: list[str]) -> None:
        async def speak() -> None:
            for text in texts:
                job.record.log.append("job.output", {"stream": "stdout", "text": text})

        self.runner.run(speak())

    def _make_room(self) -> None:
        self.full.close()
        self.is_full = False
        self._settle()

    def teardown(self) -> None:
        self.full.close()
        self.runner.run(self.stack.aclose())
        self.runner.close()
        with sqlite3.connect(self.folder / "journal.sqlite3") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        shutil.rmtree(self.folder)
