"""Many jobs that ignore SIGTERM and whose clients all disconnect at once: none of them delays the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.engine.containment import Level
from tests.support.level_cases import LEVELS
from tests.support.levels import DEFAULT_LEVEL, PROOFS
from tests.support.mass import MassCancel, hang_up_on_many
from tests.support.server import running_server

BUDGET_S = 2.0
FEW = 12
MANY = (50, 100)


def check(ended: MassCancel, count: int, level: Level = DEFAULT_LEVEL) -> None:
    assert not ended.left
    assert ended.gone_s < BUDGET_S
    assert ended.within_budget == count
    cancellations = [job["cancellation"] for job in ended.jobs]
    assert {(one["proof"], one["method"]) for one in cancellations} == {(PROOFS[level], "sigkill")}
    assert max(ended.gone_ms) < BUDGET_S * 1000


def test_some_jobs_at_once_are_all_gone_in_time(short_dir: Path) -> None:
    with running_server(short_dir / "few") as server:
        check(hang_up_on_many(server, FEW, short_dir), FEW)


@pytest.mark.suite
@pytest.mark.timeout(180)
@pytest.mark.parametrize("count", MANY)
@pytest.mark.parametrize("level", LEVELS)
def test_fifty_and_a_hundred_at_once(short_dir: Path, level: Level, count: int) -> None:
    flags = ("--max-running", str(count), "--containment", level)
    with running_server(short_dir / f"{level[:2]}{count}", *flags) as server:
        ended = hang_up_on_many(server, count, short_dir)
        print(f"{level}, {count} jobs: the last one gone after {ended.gone_s * 1000:.0f} ms, seen from outside")
        check(ended, count, level)
