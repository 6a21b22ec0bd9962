"""Fifteen kinds of misbehaviour, each as a shell job and inside the runner. The client hangs up and all processes end.

All of them run at this machine's default level, and those that distinguish the levels also run at the others.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.engine.containment import Level
from tests.support.level_cases import LEVELS
from tests.support.levels import DEFAULT_LEVEL
from tests.support.server import RunningServer, running_server
from tests.support.sins import CASES, TASKS_ENV, Mode, hang_up_and_check

TELLING = [
    ("sigterm_ignored", "task"),
    ("double_fork_daemon", "shell"),
    ("stopped_child", "task"),
    ("fork_storm", "shell"),
    ("env_i_daemon", "task"),
]


def cases() -> Iterator[Any]:
    for level in LEVELS:
        for sin, mode in CASES if level.values[0] is DEFAULT_LEVEL else TELLING:
            yield pytest.param(level.values[0], sin, mode, marks=level.marks)


Servers = Callable[[Level], RunningServer]


@pytest.fixture(scope="module")
def servers(short_dir: Path) -> Iterator[Servers]:
    """One server for each level, started when it is first asked for."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def server_at(level: Level) -> RunningServer:
            return stack.enter_context(running_server(short_dir / level[:2], "--containment", level, env=TASKS_ENV))

        yield server_at


@pytest.mark.parametrize(("level", "sin", "mode"), list(cases()))
def test_nothing_is_left_after_the_hang_up(level: Level, sin: str, mode: Mode, servers: Servers) -> None:
    print(hang_up_and_check(servers(level), sin, mode, f"{sin}-{mode}"))
