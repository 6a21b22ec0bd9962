"""Calls that may block for as long as a disk or a job likes, on threads of their own.

The threads are started before the first call. A caller waits no longer than its timeout; the call itself then continues
without one. Calls with the same key run one after the other, in order, so that the calls for one job keep their order;
other calls pass those that hang. A thread whose call hangs is replaced, up to a limit, and `problem` reports it for as
long as it hangs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

HANGS_AFTER_S = 2.0
"""A call that takes longer counts as hanging."""
MAX_HANGING = 8
"""How many hanging threads are replaced."""
MAX_WAITING = 10_000

Answer = TypeVar("Answer")

log = structlog.get_logger()


class Late(Exception):
    """Raised when a call has not returned within its timeout, or too many calls wait before it."""


@dataclass(slots=True)
class _Call:
    function: Callable[[], Any]
    key: str
    place: str
    future: Future[Any] = field(default_factory=Future)
    began: float = 0.0

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            answer = self.function()
        except BaseException as exc:
            self.future.set_exception(exc)
        else:
            self.future.set_result(answer)


class Lane:
    """Some threads, and the calls that wait for them. Every method may be called from any thread."""

    def __init__(self, name: str, *, threads: int = 2, hangs_after_s: float = HANGS_AFTER_S) -> None:
        self.name = name
        self._wanted = threads
        self._hangs_after_s = hangs_after_s
        self._condition = threading.Condition()
        self._waiting: list[_Call] = []
        self._running: list[_Call] = []
        self._threads = 0
        self._closing = False

    def start(self) -> None:
        """Start the threads. Raise RuntimeError if that is impossible."""
        with self._condition:
            while self._threads < self._wanted:
                self._add_thread()

    def close(self, timeout_s: float) -> bool:
        """Finish the waiting calls within the timeout, and end. Return False if a call is left, or hangs."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
            return self._condition.wait_for(lambda: not self._waiting and not self._running, timeout_s)

    def later(self, function: Callable[..., Answer], *args: Any, key: str = "", place: str = "") -> Future[Answer]:
        """Call `function(*args)` on a thread, without waiting. `place` names in text what it is about.

        The future gets the result or the exception, or Late at once if too many calls wait.
        """
        call = _Call(lambda: function(*args), key, place)
        with self._condition:
            if len(self._waiting) >= MAX_WAITING or self._closing:
                call.future.set_exception(Late(f"{self.name}: {len(self._waiting)} calls wait already"))
            else:
                self._waiting.append(call)
                self._replace_hanging()
                self._condition.notify()
        return call.future

    async def call(
        self, function: Callable[..., Answer], *args: Any, timeout_s: float | None, key: str = "", place: str = ""
    ) -> Answer:
        """Return or raise what `function(*args)` does. Raise Late after the timeout: a call that has started then
        continues.
        """
        return await self.answer(self.later(function, *args, key=key, place=place), timeout_s, drop=True)

    async def answer(self, future: Future[Answer], timeout_s: float | None, *, drop: bool = False) -> Answer:
        """Wait for a future of `later`. Raise Late. With `drop`, a call that has not started by then never does."""
        waiting = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait((waiting,), timeout=None if timeout_s is None else max(0.0, timeout_s))
            if done:
                return waiting.result()
            with self._condition:
                self._replace_hanging()
            raise Late(f"{self.name}: no answer within {timeout_s:g} s")
        finally:
            if not waiting.done():
                waiting.add_done_callback(_forget)
                if drop:
                    future.cancel()

    @property
    def problem(self) -> str:
        """Which calls hang, and for how long. Empty if there are none."""
        now = time.monotonic()
        with self._condition:
            late = [call for call in self._running if now - call.began >= self._hangs_after_s]
        if not late:
            return ""
        places = ", ".join(sorted({call.place or self.name for call in late})[:5])
        return f"no answer for {now - min(call.began for call in late):.0f} s: {places}"

    # --- the threads

    def _replace_hanging(self) -> None:
        """Start more threads. The caller has the lock."""
        now = time.monotonic()
        hanging = sum(now - call.began >= self._hangs_after_s for call in self._running)
        while self._threads < self._wanted + min(hanging, MAX_HANGING):
            try:
                self._add_thread()
            except RuntimeError as exc:  # no more threads can be started now; the next call tries again
                log.warning("lane_without_thread", lane=self.name, error=str(exc))
                return

    def _add_thread(self) -> None:
        threading.Thread(target=self._serve, name=f"deadstop-{self.name}", daemon=True).start()
        self._threads += 1

    def _serve(self) -> None:
        while (call := self._take()) is not None:
            call.run()
            with self._condition:
                self._running.remove(call)
                self._condition.notify_all()

    def _take(self) -> _Call | None:
        """Wait for a call whose key is not in use. Return None if the thread is to end, at the close or as one too
        many.
        """
        with self._condition:
            while True:
                busy = {call.key for call in self._running if call.key}
                for number, call in enumerate(self._waiting):
                    if call.key not in busy:
                        del self._waiting[number]
                        call.began = time.monotonic()
                        self._running.append(call)
                        return call
                if self._threads > self._wanted + len(self._running) or (self._closing and not self._waiting):
                    self._threads -= 1
                    return None
                self._condition.wait()


def _forget(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()  # the caller has left, and the function itself has reported the problem
