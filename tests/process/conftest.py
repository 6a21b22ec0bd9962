from __future__ import annotations

import os
import subprocess
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


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()
