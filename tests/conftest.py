"""Fixtures for every test: a test must leave nothing behind, and a failure shows what the servers logged."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from runner import posix
from supervisor.node.storage.short_paths import ShortPaths
from tests.support import server as servers
from tests.support.leaks import Baseline
from tests.support.levels import remove_tree

STDERR_SHOWN = 8000


def pytest_sessionstart() -> None:
    # Orphans of a test come to the test run instead of to init: then a leak can be seen, named and ended.
    posix.become_subreaper()


def pytest_sessionfinish() -> None:
    # A server that a test killed leaves empty cgroups and links for the next of its STATE_DIR, which never comes.
    for state_dir in servers.used:
        ShortPaths(state_dir).open()
        remove_tree(state_dir)


@pytest.fixture(scope="module", autouse=True)
def _what_is_there_stays() -> None:
    """Everything is collected after each test, to see what it leaves. What was there before its module, imported or
    collected by pytest, is left out of that: it is most of it, and each look would take a tenth of a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Fails a test that leaks a process, descriptor, thread, asyncio task, semaphore or workspace."""
    before = Baseline()
    yield
    leaks = before.leaks()
    if leaks:
        pytest.fail("the test left behind:\n  " + "\n  ".join(leaks), pytrace=False)


@pytest.fixture(scope="session")
def short_dir() -> Iterator[Path]:
    """A folder with a short path, removed at the end. Chromium puts a Unix socket deep into TMPDIR, and the path of a
    socket has at most 107 bytes: below pytest's own folders it cannot start."""
    with tempfile.TemporaryDirectory(prefix="ds-") as folder:
        yield Path(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for server in servers.live:
            report.sections.append((f"stderr of server {server.pid}", server.stderr[-STDERR_SHOWN:]))
    return report
