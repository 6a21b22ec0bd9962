"""Tasks that fork, as few do: TASKS=tests.children.forking_tasks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from runner import task

if TYPE_CHECKING:  # as linters have it: neither type exists when the task runs
    from runner import Context


def _child(act: Callable[[], object]) -> str:
    """Fork as few do: the child goes on to the end of the task."""
    if (pid := os.fork()) == 0:
        act()
        return "the child"
    _, status = os.waitpid(pid, 0)
    return f"the child ended with {os.waitstatus_to_exitcode(status)}"


@task
def forks(ctx: Context) -> str:
    return _child(lambda: None)


@task
def forks_one_that_exits(ctx: Context) -> str:
    return _child(lambda: sys.exit(5))


@task
def forks_one_that_raises(ctx: Context) -> str:
    def act() -> None:
        raise ValueError("in the child")

    return _child(act)


@task
def forks_one_that_is_terminated(ctx: Context) -> str:
    return _child(lambda: os.kill(os.getpid(), signal.SIGTERM))


@task
def forks_a_pool(ctx: Context) -> list[int]:
    with multiprocessing.get_context("fork").Pool(2, initializer=lambda: None) as pool:
        return pool.map(abs, range(-3, 0))


@task
def has_pythons_own_start_method(ctx: Context) -> bool:
    fresh = "import multiprocessing; print(multiprocessing.get_start_method())"
    with os.popen(f"{sys.executable} -c '{fresh}'") as pipe:
        return multiprocessing.get_start_method() == pipe.read().strip()


@task
def a_child_reports(ctx: Context) -> str:
    return _child(lambda: ctx.progress(1, 2, "from the child"))
