"""`top`: the server's jobs on a terminal, in the dashboard's order: the promise, what is stuck, the jobs, one job.

The screen is refreshed every PERIOD_S; keys act at once. All drawing is in `screen`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from deadstop.client.errors import ClientError, Unreachable
from deadstop.client.events import ACTIVE_STATES
from supervisor.cli.exits import ExitCode
from supervisor.cli.top.screen import Screen, draw

if TYPE_CHECKING:
    from deadstop.client.client import JsonClient

Json = Any

PERIOD_S = 1.0
_KEYS = {b"\x1b[A": "k", b"\x1b[B": "j", b"\x1bOA": "k", b"\x1bOB": "j", b"\x03": "q", b"\x1b": "escape"}


async def top(client: JsonClient) -> ExitCode:
    """Show the screen until `q`. In a pipe, print it once."""
    screen = Screen()
    await _refresh(client, screen)
    console = Console(highlight=False, emoji=False, markup=False)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        console.print(draw(screen, None))
        return ExitCode.OK
    with _keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        refreshed = asyncio.create_task(_keep_refreshing(client, screen, keys))
        try:
            while True:
                live.update(draw(screen, console.height), refresh=True)
                key = await keys.get()
                if key == "q":
                    return ExitCode.OK
                await _act(client, screen, key)
        finally:
            refreshed.cancel()


async def _keep_refreshing(client: JsonClient, screen: Screen, keys: asyncio.Queue[str]) -> None:
    while True:
        await asyncio.sleep(PERIOD_S)
        try:
            await _refresh(client, screen)
            screen.trouble = None
        except ClientError as exc:
            screen.trouble = str(exc)
        keys.put_nowait("")  # draw


async def _refresh(client: JsonClient, screen: Screen) -> None:
    health, active, ended = await asyncio.gather(
        client.health(),
        client.jobs_page(state=",".join(ACTIVE_STATES)),
        client.jobs_page(state="cancelled,timed_out"),
    )
    screen.take(health, active["jobs"], ended["jobs"], more=ended["next_cursor"] is not None)
    if screen.showing == "tree":
        await _fetch_detail(client, screen)


async def _act(client: JsonClient, screen: Screen, key: str) -> None:
    match key:
        case "j" | "k":
            screen.move(1 if key == "j" else -1)
        case "escape":
            screen.showing = None
        case "s" | "t":
            screen.showing = {"s": "stack", "t": "tree"}[key]
            await _show_trouble(screen, _fetch_detail(client, screen))
        case "c" | "f" if screen.selected is not None:
            await _show_trouble(screen, client.cancel(screen.selected, reason="top", force=key == "f"))
            await _show_trouble(screen, _refresh(client, screen))


async def _fetch_detail(client: JsonClient, screen: Screen) -> None:
    """Fetch what is shown of the selected job beside the list."""
    if screen.selected is None:
        return
    fetch = client.stack if screen.showing == "stack" else client.processes
    screen.detail = await fetch(screen.selected)


async def _show_trouble(screen: Screen, request: Awaitable[Any]) -> None:
    try:
        await request
        screen.trouble = None
    except Unreachable:
        raise
    except ClientError as exc:
        screen.trouble = str(exc)


@contextmanager
def _keys() -> Iterator[asyncio.Queue[str]]:
    """Yield the keys as they are typed. The terminal is restored afterwards, whatever happens."""
    fd = sys.stdin.fileno()
    saved = termios.tcgetattr(fd)
    keys: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        data = os.read(fd, 64)
        if not data:
            keys.put_nowait("q")  # the terminal was closed
            return
        for key in [_KEYS[data]] if data in _KEYS else data.decode("ascii", "ignore"):
            keys.put_nowait("q" if key == "\x03" else key)

    tty.setcbreak(fd)
    loop.add_reader(fd, read)
    try:
        yield keys
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)
