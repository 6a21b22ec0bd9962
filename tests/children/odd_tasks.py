"""Tasks that end, or say things, in ways that few do: TASKS=tests.children.odd_tasks."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from runner import JobCancelled, TaskFailed, task

if TYPE_CHECKING:  # as linters have it: neither type exists when the task runs
    from pathlib import Path

    from runner import Context

NO_UTF8 = "name\udcff"
"""As os.listdir gives it."""


# --- results


@task
def counts(ctx: Context) -> Any:
    return (number for number in range(3))


@task
def holds_lazy_parts(ctx: Context) -> Any:
    return {"lazy": map(str, (1, 2)), "set": {1}}


@task
def yields(ctx: Context) -> Iterator[int]:
    print("ran")
    yield 1


@task
def raises_while_counting(ctx: Context) -> Any:
    def count() -> Iterator[int]:
        yield 1
        raise KeyError("inside")

    return count()


@task
def too_long_a_number(ctx: Context) -> Any:
    return 10**5000


@task
def contains_itself(ctx: Context) -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@task
def no_text(ctx: Context) -> Any:
    return NO_UTF8


@task
def names(ctx: Context, schema: str = "s", copy: int = 1, model_config: str = "m", _x: str = "x") -> Path | None:
    return [schema, copy, model_config, _x]  # type: ignore[return-value]


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def plain(*args: Any, **values: Any) -> Any:
        return function(*args, **values)

    return plain


@task
@logged
async def wrapped(ctx: Context) -> str:
    await asyncio.sleep(0)
    return "awaited"


# --- failures


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@task
def speechless(ctx: Context) -> None:
    raise Speechless


@task
def raises_no_text(ctx: Context) -> None:
    raise ValueError(NO_UTF8)


@task
def fails_with_no_text(ctx: Context) -> None:
    raise TaskFailed("raised", NO_UTF8)


@task
def no_such_kind(ctx: Context) -> None:
    raise TaskFailed("broken", "cannot go on: the disk is full")


@task
def holds_what_nobody_knows(ctx: Context) -> None:
    with ctx.holding("socket", "8080"):  # type: ignore[arg-type]
        pass


@task
def says_nothing(ctx: Context) -> None:
    raise ValueError


@task
def much_to_say(ctx: Context) -> None:
    raise ValueError("\N{GRINNING FACE}" * 9000)


@task
def exits(ctx: Context) -> None:
    sys.exit("cannot go on")


@task
def interrupts_itself(ctx: Context) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    ctx.sleep(10)


@task
def cancels_itself(ctx: Context) -> None:
    raise JobCancelled("by itself")


@task
async def fails_in_a_group(ctx: Context) -> None:
    async def fail() -> None:
        raise TaskFailed("exited", "cannot pack: no space", exit_code=7)

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())


@task
def several(ctx: Context) -> None:
    raise BaseExceptionGroup("both", [SystemExit(3), KeyboardInterrupt()])


@task
def leaves_without_a_word(ctx: Context) -> None:
    os._exit(0)


@task
def becomes_another_program(ctx: Context) -> None:
    os.execv("/bin/echo", ["echo", "another program"])
