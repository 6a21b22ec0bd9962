"""A supervisor that is stopped at any moment of its start leaves nothing. The leak check of each test verifies that."""

from __future__ import annotations

import asyncio
from pathlib import Path

from supervisor.config import load_settings
from supervisor.server import supervisor_of
from tests.support.core import scenario

MOMENTS = 12
START_S = 0.4
"""By then the sets are warm, the tasks described, and the self-test's set killed."""


def test_a_stop_at_any_moment_of_the_start_leaves_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        for number in range(MOMENTS):
            async with supervisor_of(load_settings(state_dir=tmp_path / "state")):
                await asyncio.sleep(START_S * number / MOMENTS)

    scenario(body)
