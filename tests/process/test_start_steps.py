"""Each step of a start fails once, with each kind of error: nothing leaks, and the waiting job starts."""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import context, forkserver
from typing import Any, cast

import pytest

from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.handle import Handle
from supervisor.node.workers import server_forkserver, server_tracker, starter
from supervisor.node.workers import worker as attempt_set
from supervisor.node.workers.spawned_worker import SpawnedWorker
from tests.support.core import scenario, until
from tests.support.pools import at_rest, pool_of, served, settled

ERRORS = itertools.cycle((errno.EMFILE, errno.ENOMEM, errno.EIO, errno.EPERM, errno.EINVAL, errno.EAGAIN))
STEPS: list[tuple[Any, str, int]] = [
    (starter, "spawn", 1),
    (socket, "socketpair", 2),
    (context.BaseContext, "Event", 1),
    (context.BaseContext, "Pipe", 3),
    (server_forkserver, "ensure", 1),
    (forkserver, "connect_to_new_process", 1),
    (context.ForkServerProcess, "start", 1),
    (Handle, "open", 2),
    (attempt_set.Line, "connect", 2),
    (attempt_set.Output, "connect", 2),
    (attempt_set, "ExitWatch", 1),
]
"""Where a step is looked up, and how often one start takes it."""


class FailsOnce:
    """Call number `number` fails, the others do what they did."""

    def __init__(self, function: Callable[..., Any], number: int, code: int) -> None:
        self._function = function
        self._left = number
        self._code = code

    @property
    def failed(self) -> bool:
        return self._left <= 0

    def patched(self) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise OSError(self._code, os.strerror(self._code))
            return self._function(*args, **kwargs)

        return wrapped


def test_each_step_fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with pool_of() as pool:
            pool.retire(await served(pool))  # the forkserver and the tracker are there from now on
            before = await at_rest(pool)
            for owner, name, calls in STEPS:
                for number in range(1, calls + 1):
                    step = FailsOnce(getattr(owner, name), number, next(ERRORS))
                    with monkeypatch.context() as patch:
                        patch.setattr(owner, name, step.patched())
                        made = await served(pool)
                    assert step.failed, f"no start came to call {number} of {name}"
                    assert pool.trouble is None
                    pool.retire(made)
                    await settled(pool, before)

    scenario(body)


PUT_AWAY: list[tuple[Any, str]] = [
    (context.ForkServerProcess, "join"),
    (starter, "reap"),
    (starter, "read_stat"),
    (server_tracker, "mend"),
]


def test_each_step_of_putting_away_fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done a moment later, and the thread that failed goes on starting processes."""

    async def body() -> None:
        async with pool_of() as pool:
            pool.retire(await served(pool))
            before = await at_rest(pool)
            for owner, name in PUT_AWAY:
                made = await served(pool)
                step = FailsOnce(getattr(owner, name), 1, next(ERRORS))
                with monkeypatch.context() as patch:
                    patch.setattr(owner, name, step.patched())
                    pool.retire(made)
                    await until(lambda: step.failed and made.started.event is None)  # noqa: B023 - awaited here
                await settled(pool, before)
                assert (pool.thread.trouble, pool.thread.replaced) == (None, 0)

    scenario(body)


class NeverPutAway:
    """A set of which the kernel shows nothing, for good."""

    plan = event = None

    @property
    def process(self) -> NeverPutAway:
        return self

    pid = 1

    def join(self, timeout: float) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_one_that_cannot_be_put_away_holds_up_no_other() -> None:
    async def body() -> None:
        async with pool_of() as pool:
            stays = cast("SpawnedWorker", NeverPutAway())
            pool._starter.retire(stays)
            made = await served(pool)
            pool.retire(made)
            await until(lambda: made.started.event is None and made.started not in pool._starter._retired)
            assert pool._starter._retired == [stays]
            pool._starter._retired.clear()

    scenario(body)


class Forbidden:
    """A cgroup whose `cgroup.kill` a job of the same user has taken the right to write away from, for a while."""

    path = "/sys/fs/cgroup/attempt-1"

    def __init__(self, code: int) -> None:
        self.tries = 0
        self._code = code

    def remove(self, _bound_s: float) -> bool:
        self.tries += 1
        if self.tries < 2:
            raise OSError(self._code, os.strerror(self._code))
        return True


def test_a_cgroup_that_cannot_be_removed_yet_is_tried_again_and_holds_up_no_start() -> None:
    async def body() -> None:
        async with pool_of() as pool:
            for code in (errno.EACCES, errno.EMFILE, errno.EIO):
                made = await served(pool)
                leaf = Forbidden(code)
                made.started.plan = replace(made.started.plan, leaf=cast("AttemptCgroup", leaf))
                pool.retire(made)
                pool.retire(await served(pool))
                await until(lambda: leaf.tries == 2 and not pool._starter._used_cgroups)  # noqa: B023 - awaited here
                assert (pool.thread.trouble, pool.thread.replaced) == (None, 0)

    scenario(body)
