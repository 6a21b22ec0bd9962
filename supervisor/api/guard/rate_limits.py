"""Limits for each token: requests per second and open streams. The core limits its jobs."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

from supervisor.api.guard.auth import Principal
from supervisor.api.guard.problems import Kind, Problem

STREAM_RETRY_S = 1


class RequestRate:
    """A token bucket for each token, which holds one second's requests. `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        """By name: how many requests were left, and when."""

    def spend(self, principal: Principal) -> None:
        """Count one request. Raise Problem (429) if the token has none left."""
        rate = principal.limits.max_requests_per_s
        if rate is None:
            return
        now = self._clock()
        full = max(1.0, rate)
        left, since = self._buckets.get(principal.name, (full, now))
        left = min(full, left + (now - since) * rate)
        if left < 1:
            self._buckets[principal.name] = (left, now)
            raise Problem(
                Kind.TOO_MANY_REQUESTS,
                f"token {principal.name!r} may send {rate:g} requests a second",
                headers={"Retry-After": str(max(1, math.ceil((1 - left) / rate)))},
            )
        self._buckets[principal.name] = (left - 1, now)


class OpenStreams:
    """Counts the open event streams of each token. Only for use on the event loop."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """The number of streams of all tokens."""
        return self._open.total()

    def enter(self, principal: Principal) -> StreamPlace:
        """Count one stream. Raise Problem (429) if the token has as many as it may."""
        limit = principal.limits.max_streams
        if limit is not None and self._open[principal.name] >= limit:
            raise Problem(
                Kind.TOO_MANY_REQUESTS,
                f"token {principal.name!r} has {limit} streams open, its limit; close one",
                headers={"Retry-After": str(STREAM_RETRY_S)},
            )
        self._open[principal.name] += 1
        return StreamPlace(self._open, principal.name)


class StreamPlace:
    """One stream's share of the limit. `leave` releases it; calling it again does nothing."""

    def __init__(self, open_: Counter[str], name: str) -> None:
        self._open = open_
        self._name = name
        self._left = False

    def leave(self) -> None:
        if not self._left:
            self._left = True
            self._open[self._name] -= 1
