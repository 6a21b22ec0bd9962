"""Functions that end while something of theirs goes on, and functions that swallow what is to stop them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from runner import Context, task

LONG_S = 60.0


async def _leave_a_thread() -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(time.sleep, LONG_S), 0.1)


@task
async def returns_beside_a_thread(ctx: Context) -> str:
    await _leave_a_thread()
    return "over"


@task
async def raises_beside_a_thread(ctx: Context) -> None:
    await _leave_a_thread()
    raise ValueError("over")


async def _stubborn(started: asyncio.Event) -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            started.set()
            await asyncio.sleep(LONG_S)


@task
async def returns_beside_a_task(ctx: Context) -> str:
    started = asyncio.Event()
    ctx.left = asyncio.create_task(_stubborn(started))  # type: ignore[attr-defined]
    await started.wait()
    return "over"


@task
async def returns_beside_a_task_that_blocks(ctx: Context) -> str:
    async def block() -> None:
        try:
            await asyncio.sleep(LONG_S)
        finally:
            time.sleep(LONG_S)

    ctx.left = asyncio.create_task(block())  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    return "over"


@task
async def returns_beside_a_generator(ctx: Context) -> str:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(LONG_S)

    ctx.left = numbers()  # type: ignore[attr-defined]
    await anext(ctx.left)  # type: ignore[attr-defined]
    return "over"


@task
async def what_is_left_cleans_up(ctx: Context) -> str:
    async def write() -> None:
        try:
            await asyncio.sleep(LONG_S)
        finally:
            await asyncio.sleep(0.05)
            (ctx.out / "late.txt").write_text("late")
            print("cleaned up")

    async def fail() -> None:
        try:
            await asyncio.sleep(LONG_S)
        finally:
            raise ValueError("while it cleaned up")

    ctx.left = [asyncio.create_task(write()), asyncio.create_task(fail())]  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    return "over"
