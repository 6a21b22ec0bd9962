"""Functions that swallow what is to stop them; each is to print "finally" four times."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import time
from collections.abc import Callable, Iterator

from runner import Context, task

LONG_S = 60.0


def compute(seconds: float = LONG_S) -> float:
    """Take the processor, in many small steps, until a time that is returned."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(100))
    return end


@contextlib.contextmanager
def _four() -> Iterator[None]:
    """Each of the four takes a while, in which it must not be interrupted."""

    def clean_up() -> None:
        try:
            raise ValueError
        except ValueError:
            compute(0.02)
        print("finally")

    try:
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.callback(clean_up)
            yield
    finally:
        clean_up()


@task
def an_event_loop_in_which_another_task_computes(ctx: Context) -> None:
    async def waits() -> None:
        try:
            await asyncio.sleep(LONG_S)
        finally:
            await asyncio.sleep(0.05)
            print("finally")

    async def computes() -> None:
        print("READY")
        while True:
            compute(0.02)
            await asyncio.sleep(0)

    async def main() -> None:
        others = [asyncio.create_task(waits()) for _ in range(2)]
        busy = asyncio.create_task(computes())
        try:
            await asyncio.sleep(LONG_S)
        finally:
            print("finally")
        del others, busy

    try:
        asyncio.run(main())
    finally:
        print("finally")


@task
async def an_async_task_beside_one_that_computes(ctx: Context) -> None:
    async def computes() -> None:
        print("READY")
        compute()

    with _four():
        await asyncio.gather(asyncio.sleep(LONG_S), computes())


@task
def in_a_destructor(ctx: Context) -> None:
    class Costly:
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        def __del__(self) -> None:
            compute(self.seconds)

    with _four():
        print("READY")
        Costly(LONG_S)  # the first is swallowed here, and nothing else ends the loop below
        compute()


@task
def in_a_callback_of_c(ctx: Context) -> None:
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda _a, _b: int(bool(compute())))
    numbers = (ctypes.c_int * 2)(2, 1)
    with _four():
        print("READY")
        ctypes.CDLL(None).qsort(numbers, ctypes.c_size_t(2), ctypes.c_size_t(4), compare)
        compute()


@task
def in_nothing_but_destructors(ctx: Context) -> None:
    class Costly:
        def __del__(self) -> None:
            compute(0.02)

    with _four():
        print("READY")
        while True:
            Costly()


@task
def in_nothing_but_callbacks_of_c(ctx: Context) -> None:
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda _a, _b: int(compute(0.02) < 0))
    numbers = (ctypes.c_int * 2)(2, 1)
    sort = ctypes.CDLL(None).qsort
    with _four():
        print("READY")
        while True:
            sort(numbers, ctypes.c_size_t(2), ctypes.c_size_t(4), compare)


@task
def in_nothing_but_callbacks_of_the_collector(ctx: Context) -> None:
    gc.callbacks.append(lambda _phase, _info: bool(compute(0.02)))
    with _four():
        print("READY")
        while True:
            gc.collect(0)


@task
def in_destructors_within_callbacks(ctx: Context) -> None:
    class Costly:
        def __del__(self) -> None:
            compute(0.02)

    def compare_two(_a: object, _b: object) -> int:
        Costly()
        return 0

    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(compare_two)
    numbers = (ctypes.c_int * 2)(2, 1)
    sort = ctypes.CDLL(None).qsort
    with _four():
        print("READY")
        while True:
            sort(numbers, ctypes.c_size_t(2), ctypes.c_size_t(4), compare)


def _step(keep: list[BaseException], act: Callable[[], object]) -> None:
    try:
        act()
    except BaseException as exc:
        keep.append(exc)


@task
def a_scheduler_that_keeps_outcomes(ctx: Context) -> None:
    """As trio has it: whatever ends a step is kept, and the other tasks go on."""
    outcomes: list[BaseException] = []
    with _four():
        print("READY")
        for _ in range(2):
            _step(outcomes, compute)
        compute()


@task
def a_bare_except(ctx: Context) -> None:
    with _four():
        print("READY")
        with contextlib.suppress(BaseException):
            compute()
        compute()


@task
def a_runner_of_tests_that_passes_on_interrupts_alone(ctx: Context) -> None:
    """As pytest and gevent have it: only a KeyboardInterrupt ends more than the one test, or greenlet."""
    with _four():
        print("READY")
        for _ in range(1000):
            try:
                compute()
            except KeyboardInterrupt:
                raise
            except BaseException:
                continue
