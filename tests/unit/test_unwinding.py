"""An exception unwinds while code that answers it runs, and no longer."""

from __future__ import annotations

import asyncio
import contextlib
import dis
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from runner.unwinding import _table, is_unwinding


class Probe:
    """An exception to raise, and the answers of `is_unwinding` about it, one for each call of `look`."""

    def __init__(self) -> None:
        self.exc = BaseException("the one")
        self.seen: list[bool] = []

    def fail(self) -> None:
        raise self.exc

    def look(self) -> None:
        self.seen.append(is_unwinding(self.exc, sys._getframe(1)))


def in_finally(probe: Probe) -> None:
    try:
        probe.fail()
    finally:
        probe.look()


def in_except(probe: Probe) -> None:
    try:
        probe.fail()
    except BaseException as exc:
        probe.look()
        del exc


def in_a_try_inside_except(probe: Probe) -> None:
    try:
        probe.fail()
    except BaseException:
        for _ in range(2):
            try:
                probe.look()
                raise ValueError
            except ValueError:
                probe.look()
            finally:
                probe.look()
        with contextlib.suppress(ValueError):
            probe.look()


def in_a_function_that_a_finally_calls(probe: Probe) -> None:
    def clean_up() -> None:
        try:
            raise ValueError
        except ValueError:
            probe.look()
        probe.look()

    try:
        probe.fail()
    finally:
        clean_up()


def in_the_exit_of_with(probe: Probe) -> None:
    class SweepTarget:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None:
            probe.look()

    with SweepTarget():
        probe.fail()


def in_a_generator_s_finally(probe: Probe) -> None:
    @contextlib.contextmanager
    def held() -> Iterator[None]:
        try:
            yield
        finally:
            probe.look()

    with held():
        probe.fail()


def in_an_async_exit(probe: Probe) -> None:
    @contextlib.asynccontextmanager
    async def held() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            probe.look()

    async def main() -> None:
        async with held():
            await asyncio.sleep(0)
            probe.fail()

    asyncio.run(main())


def in_what_asyncio_run_cancels(probe: Probe) -> None:
    probe.exc = KeyboardInterrupt("the one")

    async def other() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            probe.look()
            await asyncio.sleep(0)
            probe.look()

    async def main() -> None:
        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(probe.fail)
        await task

    asyncio.run(main())


def after_a_swallow(probe: Probe) -> None:
    with contextlib.suppress(BaseException):
        probe.fail()
    probe.look()


def in_a_loop_that_swallows(probe: Probe) -> None:
    for _ in range(3):
        try:
            if probe.exc.__traceback__ is None:
                probe.fail()
            probe.look()
        except BaseException as exc:
            kept = exc
    assert kept is probe.exc


def in_a_handler_that_was_there_before(probe: Probe) -> None:
    try:
        raise ValueError
    except ValueError:
        for number in range(3):
            try:
                if number == 0:
                    probe.fail()
                probe.look()
            except BaseException:
                continue


def kept_by_another(probe: Probe) -> None:
    outcomes: list[BaseException] = []

    def step() -> None:
        try:
            probe.fail()
        except BaseException as exc:
            outcomes.append(exc)

    step()
    probe.look()
    try:
        raise ValueError
    except ValueError:
        probe.look()


YES = [
    in_finally,
    in_except,
    in_a_try_inside_except,
    in_a_function_that_a_finally_calls,
    in_the_exit_of_with,
    in_a_generator_s_finally,
    in_an_async_exit,
    in_what_asyncio_run_cancels,
]
NO = [after_a_swallow, in_a_loop_that_swallows, in_a_handler_that_was_there_before, kept_by_another]


@pytest.mark.parametrize("way", YES)
def test_it_unwinds_while_it_is_answered(way: Callable[[Probe], None]) -> None:
    probe = Probe()
    with contextlib.suppress(type(probe.exc), KeyboardInterrupt):
        way(probe)
    assert probe.seen
    assert set(probe.seen) == {True}


@pytest.mark.parametrize("way", NO)
def test_it_was_swallowed(way: Callable[[Probe], None]) -> None:
    probe = Probe()
    way(probe)
    assert probe.seen
    assert set(probe.seen) == {False}


@pytest.mark.parametrize("way", [*YES, *NO])
def test_the_table_is_read_as_python_reads_it(way: Callable[[Probe], None]) -> None:
    expected = [(entry.start, entry.end, entry.target) for entry in dis._parse_exception_table(way.__code__)]  # type: ignore[attr-defined]
    assert _table(way.__code__.co_exceptiontable) == expected
