"""Background tasks: an exception ends only the task that raised it, and is shown for a while."""

from __future__ import annotations

import asyncio

import pytest

from supervisor import background
from supervisor.background import BackgroundTasks
from supervisor.faults import KEPT_S, Faults


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_error_is_shown_for_a_while_and_logged_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    faults = Faults(clock)
    for error in (OSError("a"), OSError("a"), OSError("b")):
        faults.note("watch", error)
    assert faults.words == "watch: OSError: b"
    assert capsys.readouterr().out.count("internal_error") == 2
    clock.now += KEPT_S + 1
    assert faults.current() == {}
    faults.note("watch", OSError("b"))
    assert capsys.readouterr().out.count("internal_error") == 1


@pytest.mark.anyio
async def test_a_task_that_fails_takes_no_other_with_it() -> None:
    faults = Faults()
    tasks = BackgroundTasks(faults)
    ended: list[str] = []

    async def fails() -> None:
        raise ValueError("broken")

    async def goes_on() -> None:
        await asyncio.sleep(0.01)
        ended.append("done")

    tasks.start(fails(), "first")
    tasks.start(goes_on(), "second")
    await tasks.close()
    assert ended == ["done"]
    assert faults.current() == {"first": "ValueError: broken"}


@pytest.mark.anyio
async def test_a_watch_that_fails_is_started_again_and_stopped_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE_S", 0.001)
    faults = Faults()
    tasks = BackgroundTasks(faults)
    starts = 0
    well = asyncio.Event()

    async def watch() -> None:
        nonlocal starts
        starts += 1
        if starts < 4:
            raise OSError("no descriptors")
        well.set()
        await asyncio.Event().wait()

    tasks.keep("watch", watch)
    await asyncio.wait_for(well.wait(), 5)
    assert faults.current() == {"watch": "OSError: no descriptors"}
    await asyncio.wait_for(tasks.close(), 5)
    assert starts == 4
