"""Every sin in both modes, twice in a row in one server, with the second core kept busy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.busy import busy_core
from tests.support.level_cases import LEVELS
from tests.support.server import RunningServer, running_server
from tests.support.sins import CASES, TASKS_ENV, Mode, hang_up_and_check

pytestmark = pytest.mark.suite
ROUNDS = (1, 2)


@pytest.fixture(scope="module", params=LEVELS)
def server(short_dir: Path, request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    # Short names: see short_dir.
    with (
        running_server(short_dir / f"2{request.param[:2]}", "--containment", request.param, env=TASKS_ENV) as running,
        busy_core(),
    ):
        yield running


@pytest.mark.parametrize("turn", ROUNDS)
@pytest.mark.parametrize(("sin", "mode"), CASES)
def test_nothing_is_left_while_the_machine_is_busy(turn: int, sin: str, mode: Mode, server: RunningServer) -> None:
    print(hang_up_and_check(server, sin, mode, f"{sin}-{mode}-{turn}"))
