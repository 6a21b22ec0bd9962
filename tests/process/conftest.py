from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from runner.cancellation import Cancellation


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    made = Cancellation(lambda: None)
    yield made
    os.close(made._wake_read)
    os.close(made._wake_write)


@pytest.fixture(params=[True, False], ids=["terminal", "pipes"])
def pty(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
