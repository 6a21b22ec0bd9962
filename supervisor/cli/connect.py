"""Run a command against a server. What that takes is imported here, and only then."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import typer

from supervisor.cli.exits import ExitCode

if TYPE_CHECKING:
    from deadstop.client.client import JsonClient


def talk(url: str | None, command: Callable[[JsonClient], Coroutine[Any, Any, ExitCode]]) -> None:
    """Run `command` with a client of the server at `url`, and exit with its code."""
    import asyncio  # noqa: PLC0415

    _import_httpx()
    from deadstop.client.address import find_server  # noqa: PLC0415
    from deadstop.client.client import JsonClient  # noqa: PLC0415

    async def run() -> ExitCode:
        async with JsonClient(find_server(url)) as client:
            return await command(client)

    try:
        code = int(asyncio.run(run()))
        sys.stdout.flush()
    except BrokenPipeError:
        code = _pipe_closed()
    raise typer.Exit(code)


def _import_httpx() -> None:
    """Import httpx without its own command line, which would load Rich, Pygments and Click for every command."""
    if "httpx" in sys.modules:
        return
    own_command_line = "httpx._main"
    sys.modules[own_command_line] = None  # type: ignore[assignment]  # the import of it fails, and httpx does without
    try:
        import httpx  # noqa: F401, PLC0415
    finally:
        del sys.modules[own_command_line]


def _pipe_closed() -> int:
    """Let stdout end in /dev/null: Python flushes it once more at exit, and would print an error there."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(ExitCode.PIPE_CLOSED)
