"""A command of the command line, called in this process, and a script for the server that it talks to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.stage import Stage


@dataclass
class Outcome:
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


async def hello(stage: Stage) -> None:
    await stage.start()
    await stage.output("hello\r")
    await stage.output("\nwörld\r\n")
    await stage.emit("job.succeeded", result={"exit_code": 0})
