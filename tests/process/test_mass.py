"""Many jobs that ignore SIGTERM and are hung up on in one moment: none of them is late because of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.levels import DEFAULT_PROOF
from tests.support.mass import MassCancel, hang_up_on_many
from tests.support.server import running_server

BUDGET_S = 2.0
FEW = 12
MANY = (50, 100)


def check(ended: MassCancel, count: int) -> None:
    assert not ended.left
    assert ended.gone_s < BUDGET_S
    assert ended.within_budget == count
    cancellations = [job["cancellation"] for job in ended.jobs]
    assert {(one["proof"], one["method"]) for one in cancellations} == {(DEFAULT_PROOF, "sigkill")}
    assert max(ended.gone_ms) < BUDGET_S * 1000


def test_some_jobs_at_once_are_all_gone_in_time(short_dir: Path) -> None:
    with running_server(short_dir / "few") as server:
        check(hang_up_on_many(server, FEW, short_dir), FEW)


@pytest.mark.suite
@pytest.mark.timeout(180)
@pytest.mark.parametrize("count", MANY)
def test_fifty_and_a_hundred_at_once(short_dir: Path, count: int) -> None:
    with running_server(short_dir / f"m{count}", "--max-running", str(count)) as server:
        ended = hang_up_on_many(server, count, short_dir)
        print(f"{count} jobs: the last one gone after {ended.gone_s * 1000:.0f} ms, seen from outside")
        check(ended, count)
