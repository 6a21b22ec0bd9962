"""Chromium for a task, driven by Playwright. Everything that it writes is inside the workspace.

Its processes leave the session, its crash handlers leave the process tree, and its single-instance socket stays behind
after any signal; the job's guardian and workspace remove all of them. This module makes it start in any environment and
close politely. Playwright is imported when a browser is started, because most jobs need none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from runner.errors import TaskFailed

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page, Playwright

START_TIMEOUT_S = 20.0
NAVIGATION_TIMEOUT_S = 30.0
"""How long a page may take to load."""
CLOSE_TIMEOUT_S = 1.0
"""How long a browser may take to close. After that the guardian ends it, as it ends everything that a job leaves."""
SIZE = (1280, 800)

PROGRAMS = ("chromium", "google-chrome-stable", "google-chrome")
_SETUID_SANDBOX = Path("/usr/lib/chromium/chrome-sandbox")

_NOWHERE = "http://127.0.0.1:9/"
_QUIET = (  # Playwright's own defaults switch off the rest: updates, crash uploads, background networking, /dev/shm.
    "--disable-domain-reliability",
    "--disable-sync",
    "--allow-browser-signin=false",
    f"--gaia-url={_NOWHERE}",
    f"--gcm-checkin-url={_NOWHERE}",
)

_SOCKET_PATH_BYTES = 107
_SOCKET_BELOW_TMPDIR = "/org.chromium.Chromium.XXXXXX/SingletonSocket"

_TEXT = "document.body?.innerText ?? document.documentElement?.textContent ?? ''"
"""An image or a feed has no body."""

OpenAtomic = Callable[[Path, str], contextlib.AbstractContextManager[IO[Any]]]


@dataclass(frozen=True, slots=True)
class Visit:
    """A page that has loaded. `url` is the address after redirects; `status` is None if it did not come over HTTP."""

    page: Page
    url: str
    title: str
    status: int | None


class Browser:
    """A browser made by `ctx.browser()`. `context` is Playwright's own BrowserContext, for everything else."""

    def __init__(self, context: BrowserContext, out: Path, open_atomic: OpenAtomic) -> None:
        self.context = context
        self._out = out
        self._open_atomic = open_atomic

    async def open(self, url: str, *, wait_for: str | None = None, timeout_s: float = NAVIGATION_TIMEOUT_S) -> Visit:
        """Load `url` in a new page, and wait until it shows an element that matches the CSS selector `wait_for`.

        Raise TaskFailed if there is no such page or it does not load within `timeout_s`. A page of an HTTP error loads.
        """
        from playwright.async_api import Error  # noqa: PLC0415

        step = "loaded"
        page: Page | None = None
        try:
            async with asyncio.timeout(timeout_s):
                page = await self.context.new_page()
                answer = await page.goto(url, timeout=0)
                if wait_for is not None:
                    step = f"shown {wait_for!r}"
                    await page.wait_for_selector(wait_for, timeout=0)
                step = "answered its title"  # a page that computes for ever does not answer
                return Visit(page, page.url, await page.title(), None if answer is None else answer.status)
        except TimeoutError:
            problem = f"it had not {step} within {timeout_s:g} s"
        except Error as exc:
            problem = _first_line(exc)
        if page is not None:
            await self.close(page)
        raise TaskFailed("raised", f"cannot open {_short(url)}: {problem}")

    async def text(self, page: Page, *, timeout_s: float = NAVIGATION_TIMEOUT_S) -> str:
        """Return the visible text of the page. Raise TaskFailed if there is no answer within `timeout_s`."""
        from playwright.async_api import Error  # noqa: PLC0415

        try:
            async with asyncio.timeout(timeout_s):
                return str(await page.evaluate(_TEXT))
        except TimeoutError:
            raise TaskFailed("raised", f"cannot read {_short(page.url)}: no answer within {timeout_s:g} s") from None
        except Error as exc:
            raise TaskFailed("raised", f"cannot read {_short(page.url)}: {_first_line(exc)}") from None

    async def close(self, page: Page) -> None:
        """Close one page and leave the others open."""
        await _within(CLOSE_TIMEOUT_S, page.close())

    async def screenshot(self, page: Page, name: str = "screenshot.png", *, full_page: bool = False) -> str:
        """Save a picture of the page as `out/<name>`, whole or not at all. Return its path in the workspace.

        Raise TaskFailed if the page cannot be painted within NAVIGATION_TIMEOUT_S.
        """
        from playwright.async_api import Error  # noqa: PLC0415

        try:
            picture = await page.screenshot(full_page=full_page, timeout=NAVIGATION_TIMEOUT_S * 1000)
        except Error as exc:
            raise TaskFailed("raised", f"cannot take a screenshot: {_first_line(exc)}") from None
        path = self._out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open_atomic(path, "wb") as file:
            file.write(picture)
        return str(path.relative_to(self._out.parent))


@contextlib.asynccontextmanager
async def launched(out: Path, open_atomic: OpenAtomic) -> AsyncIterator[Browser]:
    """Run a browser with a new profile during the block. Raise TaskFailed (kind load) if there is none."""
    program = find_program()
    try:
        from playwright.async_api import async_playwright  # noqa: PLC0415
    except ImportError:
        raise TaskFailed(
            "load", "cannot start a browser: Playwright is not installed; run: pip install 'deadstop[browser]'"
        ) from None
    profile = tempfile.mkdtemp(prefix="browser-")
    driver = await async_playwright().start()
    try:
        context = await _launch(driver, program, profile)
        try:
            yield Browser(context, out, open_atomic)
        finally:
            await _within(CLOSE_TIMEOUT_S, context.close())
    finally:
        await _within(CLOSE_TIMEOUT_S, driver.stop())
        await asyncio.to_thread(shutil.rmtree, profile, ignore_errors=True)


async def _launch(driver: Playwright, program: str, profile: str) -> BrowserContext:
    from playwright.async_api import Error  # noqa: PLC0415

    try:
        return await driver.chromium.launch_persistent_context(
            profile,
            executable_path=program,
            chromium_sandbox=can_sandbox(),
            args=list(_QUIET),
            env={**os.environ, "TMPDIR": short_tmpdir()},
            viewport={"width": SIZE[0], "height": SIZE[1]},
            accept_downloads=False,
            # The runner handles the signals of a job; Playwright's handlers would run in the driver only.
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
            timeout=START_TIMEOUT_S * 1000,
        )
    except Error as exc:
        raise TaskFailed("load", f"cannot start {program}: {_reason(exc)}") from None


async def _within(timeout_s: float, closing: Awaitable[object]) -> None:
    from playwright.async_api import Error  # noqa: PLC0415

    # An error means that the browser has ended already, by a signal of the ladder or by itself.
    with contextlib.suppress(TimeoutError, Error):
        await asyncio.wait_for(closing, timeout_s)


def find_program() -> str:
    """Return the path of Chromium. Raise TaskFailed, which names the package to install."""
    for name in PROGRAMS:
        if (found := shutil.which(name)) is not None:
            return found
    raise TaskFailed("load", "cannot start a browser: Chromium is not installed; run: apt-get install chromium")


def can_sandbox() -> bool:
    """Return whether Chromium's sandbox can work: not as root, and only with a user namespace or a set-user-ID
    helper.
    """
    if os.geteuid() == 0:
        return False
    with contextlib.suppress(OSError):
        if _SETUID_SANDBOX.stat().st_mode & 0o4000:
            return True
    try:
        tried = subprocess.run(["unshare", "--user", "true"], capture_output=True, timeout=2, check=False)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def short_tmpdir() -> str:
    """Return a TMPDIR that Chromium can use. It is relative if that is shorter, since Chromium stays in its directory.

    Chromium creates a Unix socket there, whose path has at most 107 bytes (unix(7)), and a workspace may be deep. Raise
    TaskFailed if both paths are too long.
    """
    whole = tempfile.gettempdir()
    shortest = min(whole, os.path.relpath(whole), key=lambda path: len(os.fsencode(path)))
    room = _SOCKET_PATH_BYTES - len(_SOCKET_BELOW_TMPDIR)
    if len(os.fsencode(shortest)) > room:
        raise TaskFailed(
            "load",
            f"cannot start a browser: the path of TMPDIR has more than {room} bytes ({shortest}), too long for its "
            "socket; start it from the workspace, or use a shorter DEADSTOP_STATE_DIR",
        )
    return shortest


def _short(url: str) -> str:
    return url if len(url) <= 200 else url[:199] + "…"


def _first_line(exc: Exception) -> str:
    line = next(iter(str(exc).splitlines()), type(exc).__name__)
    return line.partition(": ")[2] or line


def _reason(exc: Exception) -> str:
    """Return the last complaint of the browser: Playwright's message contains all that it wrote."""
    lines = [line.strip() for line in str(exc).splitlines()]
    complaints = [line for line in lines if "ERROR" in line or "error while loading" in line or "FATAL" in line]
    return (complaints or [_first_line(exc)])[-1][:500]
