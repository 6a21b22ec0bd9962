"""End the streams and waits that would outlast a shutdown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Drain:
    """Ends waits when the server shuts down. Only for use on the event loop.

    The ASGI server waits for every response to end, and a stream of a job that cannot be stopped would never end. So
    every wait for something that may not happen must be made under `waiting`.
    """

    def __init__(self) -> None:
        self.started = False
        self._scopes: set[anyio.CancelScope] = set()

    def start(self) -> None:
        """Prevent new waits and end the present ones. They return as if what they waited for had happened."""
        self.started = True
        for scope in self._scopes:
            scope.cancel()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wrap an await that `start` may end early. Check `started` after it."""
        with anyio.CancelScope() as scope:
            if self.started:
                scope.cancel()
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
