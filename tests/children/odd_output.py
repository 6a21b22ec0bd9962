"""Tasks that say things, or listen, in ways that few do: TASKS=tests.children.odd_output."""

from __future__ import annotations

import ctypes
import sys
import threading
from typing import TYPE_CHECKING, Any

from runner import task

if TYPE_CHECKING:  # as linters have it: neither type exists when the task runs
    from runner import Context

from tests.children.odd_tasks import NO_UTF8


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
