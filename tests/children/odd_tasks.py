"""Tasks that end, or say things, in ways that few do: TASKS=tests.children.odd_tasks."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import multiprocessing
import os
import signal
import sys
import threading
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


# --- processes


def _child(act: Callable[[], object]) -> str:
    """Fork as few do: the child goes on to the end of the task."""
    if (pid := os.fork()) == 0:
        act()
        return "the child"
    _, status = os.waitpid(pid, 0)
    return f"the child ended with {os.waitstatus_to_exitcode(status)}"


@task
def forks(ctx: Context) -> str:
    return _child(lambda: None)


@task
def forks_one_that_exits(ctx: Context) -> str:
    return _child(lambda: sys.exit(5))


@task
def forks_one_that_raises(ctx: Context) -> str:
    def act() -> None:
        raise ValueError("in the child")

    return _child(act)


@task
def forks_one_that_is_terminated(ctx: Context) -> str:
    return _child(lambda: os.kill(os.getpid(), signal.SIGTERM))


@task
def forks_a_pool(ctx: Context) -> list[int]:
    with multiprocessing.get_context("fork").Pool(2, initializer=lambda: None) as pool:
        return pool.map(abs, range(-3, 0))


@task
def has_pythons_own_start_method(ctx: Context) -> bool:
    fresh = "import multiprocessing; print(multiprocessing.get_start_method())"
    with os.popen(f"{sys.executable} -c '{fresh}'") as pipe:
        return multiprocessing.get_start_method() == pipe.read().strip()


@task
def a_child_reports(ctx: Context) -> str:
    return _child(lambda: ctx.progress(1, 2, "from the child"))


# --- what is said


@task
def says_no_text(ctx: Context) -> str:
    ctx.progress(1, 2, NO_UTF8)
    ctx.phase("tool", NO_UTF8)
    ctx.say(NO_UTF8 + "\n")
    ctx.log(NO_UTF8, field=NO_UTF8)
    with ctx.open_atomic(ctx.out / NO_UTF8) as file:
        file.write("content")
    with ctx.terminal(["echo", NO_UTF8]) as terminal:
        terminal.run().check()
    return "ok"


@task
def logs_anything(ctx: Context) -> str:
    itself: list[Any] = []
    itself.append(itself)
    ctx.log(ValueError("an exception"), raw=b"\xff", itself=itself, nan=float("nan"), kept={"a": [1]})  # type: ignore[arg-type]
    return "ok"


@task
def logs_much(ctx: Context) -> str:
    ctx.log("much", field="\N{GRINNING FACE}" * 3500)
    return "ok"


@task
def prints_from_c(ctx: Context) -> str:
    ctypes.CDLL(None).puts(b"by puts")
    return "ok"


@task
def has_a_thread_that_raises(ctx: Context) -> str:
    def fail() -> None:
        raise ValueError("in a thread")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    return "ok"


@task
def reads_its_stdin(ctx: Context) -> str:
    assert sys.stdin.read() == ""
    return input()


@task
def closes_its_stdout(ctx: Context) -> str:
    print("before")
    sys.stdout.close()
    return "ok"


@task
def writes_no_text(ctx: Context) -> str:
    sys.stdout.buffer.write(b"\x00\xff\r\n")
    sys.stdout.write("without an end")
    return "ok"
