"""The `browse` task: a page in a real browser."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from runner.context import Context
from runner.loading import task

WEB_ADDRESS = r"^(https?://[^\s]+|data:.*|about:blank)$"
"""No file: addresses, because a client that may only browse must not read the server's disk."""

_WAIT_FOR = "A CSS selector: the page is ready once it shows such an element."


@task
async def browse(
    ctx: Context,
    url: Annotated[str, Field(pattern=WEB_ADDRESS, description="http:, https: or data:")],
    screenshot: Annotated[bool, Field(description="Save out/screenshot.png.")] = True,
    wait_for: Annotated[str, Field(min_length=1, description=_WAIT_FOR)] | None = None,
) -> dict[str, Any]:
    """Open a page in Chromium: its title, where redirects led, the HTTP status, and a screenshot."""
    ctx.phase("startup", "starting the browser")
    async with ctx.browser() as browser:
        ctx.phase("tool", f"opening {url}"[:200])
        visit = await browser.open(url, wait_for=wait_for)
        picture = await browser.screenshot(visit.page) if screenshot else None
        ctx.phase("cleanup", "closing the browser")
    return {"title": visit.title, "url": visit.url, "status": visit.status, "screenshot": picture}
