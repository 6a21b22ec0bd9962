from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.cancellation import Cancellation
from supervisor.node.levels.cgroup_tree import CgroupTree
from tests.support.levels import a_tree


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    made = Cancellation(lambda: None)
    yield made
    os.close(made._wake_read)
    os.close(made._wake_write)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[CgroupTree]:
    """A server's subtree of cgroups. At the end nothing of it is left."""
    tree = a_tree(tmp_path)
    yield tree
    assert tree.close()
    assert not tree.path.exists()


@pytest.fixture(params=[True, False], ids=["terminal", "pipes"])
def pty(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()
