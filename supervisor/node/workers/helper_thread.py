"""A thread that does units of work one after another, and a spare thread that watches it and takes its place.

Both are started at first, because at a limit of processes no thread can be started any more. A unit that raises is
logged and the next one is done. A unit that takes too long is given up with its thread, which ends when the unit
returns, if it ever does; the spare continues with the next unit and starts another spare when it can.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

LOOK_S = 1.0
"""How often the spare checks whether the thread is alive."""
JOIN_TIMEOUT_S = 0.2
"""How long a thread without further work may take to end."""

log = structlog.get_logger()


def _nothing() -> None:
    """For a unit that is given up without a report to its caller."""


@dataclass(frozen=True, slots=True)
class Unit:
    """`what` completes "it has been …" in logs and checks. Each action of `late` is tried after its number of seconds.

    `given_up` is called, in another thread, if the unit will not be finished.
    """

    what: str
    run: Callable[[], None]
    late: tuple[tuple[float, Callable[[], None]], ...] = ()
    given_up: Callable[[], object] = _nothing


@dataclass(slots=True)
class _Current:
    unit: Unit
    since: float = field(default_factory=time.monotonic)
    tried: int = 0
    """The number of actions of `unit.late` that were tried."""

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.since


class HelperThread:
    """`put` never blocks, and does not raise if there is no thread. A unit is given up after `give_up_after_s`."""

    def __init__(self, name: str, *, give_up_after_s: float) -> None:
        self.name = name
        self.replaced = 0
        """The number of threads that hung or died and were replaced."""
        self.last_replaced: str | None = None
        """The reason of the last replacement."""
        self._give_up_after_s = give_up_after_s
        self._queue: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._current: _Current | None = None
        self._closing = False
        self._spare_failure: str | None = None
        self._worker: threading.Thread | None = self._start(self._serve)
        self._spare: threading.Thread | None = self._start(self._watch)
        if self._worker is None or self._spare is None:
            self.close(0)
            raise OSError(f"cannot start the threads of {name}: {self._spare_failure}")

    def put(self, unit: Unit) -> None:
        """Queue a unit."""
        self._queue.put(unit)

    @property
    def trouble(self) -> str | None:
        """Why nothing is done at the moment; None if the thread works."""
        current, worker = self._current, self._worker
        if worker is None or not worker.is_alive():
            return f"the thread {self.name} has ended, and no other could be made yet ({self._spare_failure})"
        if current is not None and current.age_s > self._hangs_after_s(current.unit):
            return f"the thread {self.name} hangs: it has been {current.unit.what} for {current.age_s:.0f} s"
        return None

    def _hangs_after_s(self, unit: Unit) -> float:
        return unit.late[-1][0] if unit.late else self._give_up_after_s

    def mend(self) -> None:
        """Start missing threads, if that is possible now. Call this from time to time, from any other thread."""
        with self._changed:
            if self._closing or (self._spare is not None and self._spare.is_alive()):
                return
            self._make_spare()

    def close(self, timeout_s: float) -> list[Unit]:
        """Finish the queued units and end the threads. After the timeout, return the units that are left, in order."""
        self._queue.put(None)
        with self._changed:
            # The spare watches until then, because the last unit may hang too.
            self._changed.wait_for(lambda: self._closing, timeout_s)
            self._closing = True
            threads = [thread for thread in (self._worker, self._spare) if thread is not None]
            self._changed.notify_all()
        for thread in threads:
            thread.join(JOIN_TIMEOUT_S)
        left: list[Unit] = []
        while not self._queue.empty():
            unit = self._queue.get()
            if unit is not None:
                left.append(unit)
        self._queue.put(None)  # for a thread that hangs now and continues later
        return left

    def _start(self, run: Callable[[], None]) -> threading.Thread | None:
        """Return None if no other thread can be started: there is a limit of processes, or no memory."""
        thread = threading.Thread(target=run, name=self.name, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as exc:
            self._spare_failure = str(exc) or type(exc).__name__
            return None
        return thread

    def _make_spare(self) -> None:
        self._spare = self._start(self._watch)

    # --- the worker

    def _serve(self) -> None:
        me = threading.current_thread()
        while (unit := self._queue.get()) is not None:
            with self._changed:
                self._current = _Current(unit)
                self._changed.notify_all()
            _do(unit.run, unit.what)
            with self._changed:
                if self._worker is not me:
                    return  # it was given up meanwhile, and another thread continues
                self._current = None
                self._changed.notify_all()
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    # --- the spare

    def _watch(self) -> None:
        with self._changed:
            while not self._closing:
                why = self._failed()
                if why is not None:
                    break
                self._try_to_free()
                self._changed.wait(self._next_look_s())
            else:
                return
            given_up = self._take_over(why)
        if given_up is not None:
            _do(given_up.given_up, f"giving up {given_up.what}")
        self._serve()

    def _failed(self) -> str | None:
        if self._worker is None or not self._worker.is_alive():
            return "it ended"
        current = self._current
        if current is not None and current.age_s >= self._give_up_after_s:
            return f"it had been {current.unit.what} for {current.age_s:.1f} s"
        return None

    def _try_to_free(self) -> None:
        current = self._current
        if current is None:
            return
        for after_s, action in current.unit.late[current.tried :]:
            if current.age_s < after_s:
                return
            current.tried += 1
            _do(action, f"freeing a thread that is {current.unit.what}")

    def _next_look_s(self) -> float:
        current = self._current
        if current is None:
            return LOOK_S
        late = [after_s for after_s, _ in current.unit.late[current.tried :]]
        return max(0.0, min([*late, self._give_up_after_s]) - current.age_s)

    def _take_over(self, why: str) -> Unit | None:
        """Become the worker. Return the unit of the previous one."""
        current, self._current = self._current, None
        self._worker = threading.current_thread()
        self.replaced += 1
        self.last_replaced = why
        self._make_spare()
        _do(
            lambda: log.error("helper_thread_replaced", thread=self.name, why=why, replaced=self.replaced),
            "logging that a thread was replaced",
        )
        return None if current is None else current.unit


def _do(work: Callable[[], object], what: str) -> None:
    """Call `work`. Log what it raises."""
    try:
        work()
    except BaseException:
        try:
            log.exception("helper_thread_failed", doing=what)
        except Exception as exc:
            # The log fails too, for example because its disk is full. Standard error may fail as well.
            with contextlib.suppress(Exception):
                print(f"helper thread, {what}: the log failed: {exc!r}", file=sys.__stderr__)
