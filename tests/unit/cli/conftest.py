from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.cli.app import main
from tests.support.cli import environment
from tests.support.commands import Cli, Outcome
from tests.support.fake_server import TOKEN, FakeServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with FakeServer() as fake:
        monkeypatch.setenv("DEADSTOP_URL", fake.url)
        monkeypatch.setenv("DEADSTOP_TOKEN", TOKEN)
        monkeypatch.setenv("DEADSTOP_STATE_DIR", str(tmp_path))
        yield fake


@pytest.fixture
def cli(server: FakeServer, capfd: pytest.CaptureFixture[str]) -> Cli:
    def call(*argv: str) -> Outcome:
        code = main(list(argv))
        return Outcome(code, *capfd.readouterr())

    return call


@pytest.fixture
def env(server: FakeServer, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a client's process."""
    return environment(tmp_path, DEADSTOP_URL=server.url, DEADSTOP_TOKEN=TOKEN)
