"""What ends the streams and waits that would outlast a shutdown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Drain:
    """Open until `close`. Belongs to the event loop.

    The ASGI server waits for every response to end, and a follower of a job that nobody could stop would make it
    wait for ever. So whoever waits for something that may never come does it under `waiting`.
    """

    def __init__(self) -> None:
        self.started = False
        self._scopes: set[anyio.CancelScope] = set()

    def start(self) -> None:
        """Let no new wait begin, and end those there are. They return as if what they waited for had come."""
        self.started = True
        for scope in self._scopes:
            scope.cancel()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around an await that `close` may cut short. Look at `closed` behind it."""
        with anyio.CancelScope() as scope:
            if self.started:
                scope.cancel()
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
