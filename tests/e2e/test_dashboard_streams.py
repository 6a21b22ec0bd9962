"""The dashboard's connection: given up while its tab is hidden, and taken up again when a server comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.dashboard import needs_chromium, submit
from tests.support.server import RunningServer, running_server

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def server(short_dir: Path) -> Iterator[RunningServer]:
    with running_server(short_dir / "streams") as running:
        yield running


LOOKED_AT = """seen => {
    Object.defineProperty(document, "hidden", {get: () => !seen, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_hidden_tab_leaves_the_connections_to_the_others(server: RunningServer, page: Page) -> None:
    job_id = submit(server, "shell", command="echo UP; sleep 60")
    page.locator(f"#row-{job_id}").click()
    expect(page.locator("#output")).to_contain_text("UP")
    wait_for_streams(server, 2)
    page.evaluate(LOOKED_AT, False)
    wait_for_streams(server, 0)
    server.http.post(f"/jobs/{job_id}/cancel?wait=5")
    page.evaluate(LOOKED_AT, True)
    expect(page.locator("#verdict")).to_contain_text("gone after")
    expect(page.locator(f"#row-{job_id} .pill")).to_have_text("cancelled")
    wait_for_streams(server, 1)


def wait_for_streams(server: RunningServer, count: int) -> None:
    deadline = time.monotonic() + 5
    while f"\ndeadstop_streams {count}.0\n" not in server.http.get("/metrics").text:
        assert time.monotonic() < deadline, f"there are not {count} streams"


def test_a_server_that_comes_back_is_followed_without_a_reload(short_dir: Path, browser: Browser) -> None:
    state_dir = short_dir / "back"
    with browser.new_context() as context:
        tab = context.new_page()
        with running_server(state_dir) as first:
            port = first.url.rpartition(":")[2]
            tab.goto(f"{first.url}/")
            tab.fill("#token", first.token)
            tab.get_by_role("button", name="Sign in").click()
            expect(tab.locator("#server-words")).to_contain_text("containment")
            expect(tab.locator("#none")).to_be_visible()
            tab.evaluate("window.notReloaded = true")
        expect(tab.locator("#server-words")).to_contain_text("does not answer")
        expect(tab.locator("#away")).to_contain_text("This is how it was at")
        with running_server(state_dir, "--port", port) as second:
            expect(tab.locator("#server-words")).to_contain_text("containment", timeout=10_000)
            job_id = submit(second, "shell", command="true")
            expect(tab.locator(f"#row-{job_id} .pill")).to_have_text("succeeded")
            expect(tab.locator("#away")).to_be_hidden()
            assert tab.evaluate("window.notReloaded") is True
            tab.context.clear_cookies()
            for seen in (False, True):
                tab.evaluate(LOOKED_AT, seen)
            expect(tab.locator("#token")).to_be_visible()  # the server no longer knows who asks
