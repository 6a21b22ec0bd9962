from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.in_process import InProcessServer, in_process_server
from tests.api.wire import RealServer, real_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """One server for the tests of a module. No test may leave an active job in it."""
    with real_server(tmp_path_factory.mktemp("server") / "state") as running:
        yield running
        assert running.active() == 0, running.log.read_text()


@pytest.fixture(scope="module")
def faked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """The same server on the fake engine, for modules whose tests need no process. They import it as `server`."""
    with in_process_server(tmp_path_factory.mktemp("server") / "state") as running:
        yield running
        assert running.active() == 0, running.log.read_text()
