"""The incident that Deadstop grew out of, in a real browser: a page fetches a stream and aborts it.

A server that hears of the disconnect before it has registered the execution cancels nothing, and the task goes on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.support.dashboard import CHROMIUM, FLAGS
from tests.support.observer import Beacon
from tests.support.server import RunningServer, running_server

ROUNDS = 20
BUDGET_S = 2.0
ACTIVE = ("queued", "starting", "running", "cancelling")

FETCH_AND_ABORT = """
async ([body, abortAfterMs, untilText]) => {
    const aborter = new AbortController();
    if (abortAfterMs !== null) setTimeout(() => aborter.abort(), abortAfterMs);
    try {
        const response = await fetch("/execute/stream", {
            method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
            signal: aborter.signal,
        });
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        while (!text.includes(untilText)) text += (await reader.read()).value;
        aborter.abort();
        await reader.read();
    } catch (error) {
        return error.name;
    }
}
"""


@pytest.fixture(scope="module")
def server(short_dir: Path) -> Iterator[RunningServer]:
    with running_server(short_dir / "incident") as running:
        yield running


@pytest.fixture
def page(server: RunningServer) -> Iterator[Page]:
    """A signed-in page of the server's own origin."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            signed_in = browser.new_page()
            signed_in.goto(f"{server.url}/docs")
            status = signed_in.evaluate(
                "async token => (await fetch('/session', {method: 'POST', headers: {'Content-Type':"
                " 'application/json'}, body: JSON.stringify({token})})).status",
                server.token,
            )
            assert status == 204
            yield signed_in
        finally:
            browser.close()


def job_of(beacon: Beacon, job_id: str) -> dict[str, object]:
    # The whole tree holds the beacon's write end, wherever it goes: its EOF proves from outside that it is dead.
    command = f"exec 9>{beacon.path}; setsid sleep 60 & (sleep 60 & wait) & echo >&9; echo up; wait"
    return {"id": job_id, "task": "shell", "input": {"command": command}}


def assert_nothing_is_active(server: RunningServer) -> None:
    for job in server.http.get("/jobs?limit=500").json()["jobs"]:
        assert server.wait_finished(job["id"])["state"] == "cancelled"
    counts = server.http.get("/health").json()["counts"]
    assert [counts[state] for state in ACTIVE] == [0, 0, 0, 0], counts


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_an_aborted_fetch_leaves_nothing(server: RunningServer, page: Page, tmp_path: Path) -> None:
    with Beacon(tmp_path / "beacon") as beacon:
        assert page.evaluate(FETCH_AND_ABORT, [job_of(beacon, "aborted"), None, '"text": "up']) == "AbortError"
        aborted = time.monotonic()
        assert beacon.wait_in_place(0)
        assert beacon.wait_eof(aborted + BUDGET_S), beacon.holders()
    job = server.wait_finished("aborted")
    assert (job["state"], job["cancellation"]["reason"]) == ("cancelled", "client_disconnected")
    assert_nothing_is_active(server)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_fetch_that_is_aborted_at_any_moment_leaves_nothing(
    server: RunningServer, page: Page, tmp_path: Path
) -> None:
    with Beacon(tmp_path / "beacon") as beacon:
        for number in range(ROUNDS):
            body = job_of(beacon, f"early-{number}")
            assert page.evaluate(FETCH_AND_ABORT, [body, random.uniform(0, 40), "never"]) == "AbortError"
        aborted = time.monotonic()
        assert_nothing_is_active(server)
        if beacon.wait_in_place(0):
            assert beacon.wait_eof(aborted + BUDGET_S), beacon.holders()
