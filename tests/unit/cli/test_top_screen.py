"""The promise on the screen of `top`, and the jobs that fit on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from supervisor.cli.top.screen import Screen, draw

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HEALTH = {"status": "ok", "version": "1", "containment": {"level": "cgroup"}, "checks": {}}


def shown(screen: Screen, height: int | None = None) -> str:
    console = Console(width=100, highlight=False, emoji=False, markup=False)
    with console.capture() as capture:
        console.print(draw(screen, height, NOW))
    return capture.get()


def stopped(minutes_ago: float, gone_ms: float, *, late: bool = False) -> dict[str, Any]:
    finished = (NOW - timedelta(minutes=minutes_ago)).isoformat()
    return {"id": "x", "finished_at": finished, "cancellation": {"gone_ms": gone_ms, "within_budget": not late}}


def waiting(job_id: str, stuck: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"id": job_id, "task": "shell", "state": "running", "started_at": NOW.isoformat(), "stuck": stuck}


@pytest.mark.parametrize(
    ("oldest_minutes_ago", "more", "count"), [(59, False, "3 "), (59, True, "3+ "), (61, True, "2 ")]
)
def test_the_hour_is_counted_and_an_incomplete_count_is_marked(
    oldest_minutes_ago: int, *, more: bool, count: str
) -> None:
    screen = Screen()
    screen.take(HEALTH, [], [stopped(1, 100), stopped(2, 2500, late=True), stopped(oldest_minutes_ago, 50)], more=more)
    text = shown(screen)
    assert f"cancels in the last hour {count} p50" in text
    assert "late 1" in text


def test_the_stuck_are_first_and_the_selected_one_is_in_sight() -> None:
    screen = Screen()
    hang = {"words": "its task has said nothing for 9 s"}
    screen.take(HEALTH, [*(waiting(f"job-{n}") for n in range(50)), waiting("hangs", hang)], [])
    assert screen.selected == "hangs"
    assert "STUCK shell hangs: its task has said nothing" in shown(screen, 20)
    screen.move(40)
    lines = shown(screen, 20).splitlines()
    assert len(lines) <= 20
    assert [line for line in lines if line.startswith(">") and "job-39" in line]
