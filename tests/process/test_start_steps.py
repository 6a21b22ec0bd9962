"""Each step of a start fails once, with each kind of error: nothing leaks, and the job that waits is served."""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import Callable
from multiprocessing import context, forkserver
from typing import Any

import pytest

from supervisor.containment import attempt_set, server_forkserver, starter
from supervisor.containment.handle import Handle
from tests.support.core import scenario
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
