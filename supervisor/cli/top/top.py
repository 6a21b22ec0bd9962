"""`top`: the server's jobs on a terminal, in the dashboard's order: the promise, what is stuck, the jobs, one job.

What is shown is asked for anew every PERIOD_S; keys act at once. All drawing is in `top_screen`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live

from deadstop.client.client import Client, Request
from supervisor.cli.exit_codes import ExitCode
from supervisor.cli.exits import CommandError, Unreachable
from supervisor.cli.top.screen import Screen, draw

Json = Any

PERIOD_S = 1.0
LIMIT = 500
ACTIVE = "queued,starting,running,cancelling"
_KEYS = {b"\x1b[A": "k", b"\x1b[B": "j", b"\x1bOA": "k", b"\x1bOB": "j", b"\x03": "q", b"\x1b": "escape"}


async def top(client: Client) -> ExitCode:
    """Until `q`. In a pipe: the screen once, for those who only want to see."""
    screen = Screen()
    await _refresh(client, screen)
    console = Console(highlight=False, emoji=False, markup=False)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        console.print(draw(screen, None))
        return ExitCode.OK
    with _keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        refreshed = asyncio.create_task(_keep_fresh(client, screen, keys))
        try:
            while True:
                live.update(draw(screen, console.height), refresh=True)
                key = await keys.get()
                if key == "q":
                    return ExitCode.OK
                await _act(client, screen, key)
        finally:
            refreshed.cancel()


async def _keep_fresh(client: Client, screen: Screen, keys: asyncio.Queue[str]) -> None:
    while True:
        await asyncio.sleep(PERIOD_S)
        try:
            await _refresh(client, screen)
            screen.trouble = None
        except CommandError as exc:
            screen.trouble = str(exc)
        keys.put_nowait("")  # draw


async def _refresh(client: Client, screen: Screen) -> None:
    health, active, ended = await asyncio.gather(
        client.ask(Request("GET", "/health")),
        client.ask(Request("GET", "/jobs", params=(("state", ACTIVE), ("limit", str(LIMIT))))),
        client.ask(Request("GET", "/jobs", params=(("state", "cancelled,timed_out"), ("limit", str(LIMIT))))),
    )
    screen.take(health, active["jobs"], ended["jobs"], more=ended["next_cursor"] is not None)
    if screen.showing == "tree":
        await _look(client, screen)


async def _act(client: Client, screen: Screen, key: str) -> None:
    match key:
        case "j" | "k":
            screen.move(1 if key == "j" else -1)
        case "escape":
            screen.showing = None
        case "s" | "t":
            screen.showing = {"s": "stack", "t": "tree"}[key]
            await _say_trouble(screen, _look(client, screen))
        case "c" | "f" if screen.selected is not None:
            body = {"reason": "top", "force": key == "f"}
            asked = client.ask(Request("POST", f"/jobs/{screen.selected}/cancel", body))
            await _say_trouble(screen, asked)
            await _say_trouble(screen, _refresh(client, screen))


async def _look(client: Client, screen: Screen) -> None:
    """Fetch what is shown of the selected job beside the list."""
    if screen.selected is None:
        return
    path = "stack" if screen.showing == "stack" else "processes"
    screen.detail = await client.ask(Request("GET", f"/jobs/{screen.selected}/{path}"))


async def _say_trouble(screen: Screen, asked: Any) -> None:
    try:
        await asked
        screen.trouble = None
    except Unreachable:
        raise
    except CommandError as exc:
        screen.trouble = str(exc)


@contextmanager
def _keys() -> Iterator[asyncio.Queue[str]]:
    """The keys as they are typed. The terminal is as it was afterwards, whatever happens."""
    fd = sys.stdin.fileno()
    saved = termios.tcgetattr(fd)
    keys: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        data = os.read(fd, 64)
        if not data:
            keys.put_nowait("q")  # the terminal is gone
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
