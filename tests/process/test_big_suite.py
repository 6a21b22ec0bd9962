"""Big jobs end inside the budget too: much memory, many processes, many files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisor.guardian.ladder import KILL_S
from tests.support.big import BIG, FILES, GIB, PROCESSES, hang_up_on
from tests.support.census import settled, trash_of
from tests.support.server import RunningServer, running_server

pytestmark = [pytest.mark.suite, pytest.mark.timeout(180)]
BUDGET_S = 2.0


@pytest.fixture(scope="module")
def server(short_dir: Path) -> Iterator[RunningServer]:
    with running_server(short_dir / "big") as server:
        yield server


@pytest.mark.parametrize("what", BIG)
def test_a_big_job_is_gone_within_the_budget(server: RunningServer, tmp_path: Path, what: str) -> None:
    if "memory" in what and psutil.virtual_memory().available < (GIB + 1) << 30:
        pytest.skip(f"less than {GIB + 1} GiB of memory are free")
    ended = hang_up_on(server, what, tmp_path)
    sizes = {
        "memory": (ended.rss_mib, GIB * 1024),
        "processes": (ended.processes, PROCESSES),
        "files": (ended.files, FILES),
    }
    size, wanted = sizes[what.rsplit(" ", 1)[-1]]
    assert size >= wanted, "it was not as big as it should be"
    print(f"{what}: {ended.gone_ms:.0f} ms from outside; {ended.job['cancellation']}")
    assert not ended.left
    assert ended.gone_ms < BUDGET_S * 1000
    assert not ended.workspace_left
    cancellation = ended.job["cancellation"]
    assert (ended.job["state"], cancellation["within_budget"]) == ("cancelled", True)
    if "memory" in what:
        assert cancellation["killed_ms"] < KILL_S * 1000 - 100, "the kill step comes earlier for so much memory"
    settled(server, lambda _: not trash_of(server), looks=1000)
    assert not trash_of(server)
