"""The dashboard in a real browser, signed in to the module's own server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.dashboard import CHROMIUM, FLAGS
from tests.support.server import RunningServer


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as running:
        yield running


@pytest.fixture
def page(server: RunningServer, browser: Browser) -> Iterator[Page]:
    """The dashboard, signed in. Whatever the browser complains of fails the test: a refused script, a bug in ours."""
    complaints: list[str] = []
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        tab = context.new_page()
        tab.goto(f"{server.url}/")
        tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.fill("#token", server.token)
        tab.get_by_role("button", name="Sign in").click()
        expect(tab.locator("#server-words")).to_contain_text("containment")
        yield tab
    assert not complaints
