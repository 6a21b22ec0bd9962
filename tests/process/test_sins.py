"""Fifteen kinds of misbehaviour, each as a shell job and inside the runner: the client hangs up, and all is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cgroups import LEVELS
from tests.support.server import RunningServer, running_server
from tests.support.sins import CASES, TASKS_ENV, Mode, hang_up_and_check


@pytest.fixture(scope="module", params=LEVELS)
def server(short_dir: Path, request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with running_server(short_dir / f"sins-{request.param}", "--containment", request.param, env=TASKS_ENV) as running:
        yield running


@pytest.mark.parametrize(("sin", "mode"), CASES)
def test_nothing_is_left_after_the_hang_up(sin: str, mode: Mode, server: RunningServer) -> None:
    print(hang_up_and_check(server, sin, mode, f"{sin}-{mode}"))
