"""How smooth the dashboard stays: 1,000 unfinished jobs in its table while 50 events a second arrive, in real Chromium.

    python -m bench.dashboard [--jobs 1000] [--seconds 10]

Every job is unfinished, so every row is drawn anew each second; one of them progresses and writes 25 times a second.
Measured in the page: the time between two frames, and tasks that held its thread for longer than 50 ms (`longtask`),
which is what a user feels as a hitch. Three times over: the table alone, with that job open beside it, and while the
keyboard walks through the table and the filter is typed into.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from bench import report
from tests.support.server import RunningServer, running_server

FLAGS = ["--no-sandbox", "--disable-gpu"]
EVENTS_PER_S = 50
LONG_MS = 50

START = """() => {
    const seen = window.seen = {frames: [], long: [], mutations: 0, on: true};
    const long = new PerformanceObserver((list) => seen.long.push(...list.getEntries().map((e) => e.duration)));
    long.observe({type: "longtask"});
    const drawn = new MutationObserver((list) => { seen.mutations += list.length; });
    drawn.observe(document.querySelector("#rows"), {subtree: true, childList: true, characterData: true});
    let last = performance.now();
    const frame = (now) => { seen.frames.push(now - last); last = now; if (seen.on) requestAnimationFrame(frame); };
    requestAnimationFrame(frame);
}"""
STOP = "() => { window.seen.on = false; return window.seen; }"


def fill(server: RunningServer, jobs: int, seconds: float) -> str:
    """One job that speaks, and the others behind it in the queue."""
    steps = int(seconds * EVENTS_PER_S / 2)  # each step is an output and a progress event
    speaking = {"task": "demo", "input": {"seconds": seconds, "steps": steps}}
    job_id = str(server.http.post("/jobs", json=speaking).json()["id"])
    queued = {"task": "shell", "input": {"command": "true"}, "labels": {"batch": "7"}}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.http.post("/jobs", json=queued).status_code, range(jobs - 1)))
    assert set(answers) == {202}, set(answers)
    return job_id


def measure(page: Page, seconds: float, act: Callable[[Page], None] | None = None) -> dict[str, float]:
    page.evaluate(START)
    if act is None:
        page.wait_for_timeout(seconds * 1000)
    else:
        act(page)
    seen = page.evaluate(STOP)
    frames = sorted(seen["frames"][1:])
    assert seen["mutations"] > 0, "nothing was drawn: there is nothing to measure"
    return {
        "frames": len(frames),
        "median_ms": statistics.median(frames),
        "p99_ms": frames[int(0.99 * (len(frames) - 1))],
        "max_ms": frames[-1],
        "long_tasks": len(seen["long"]),
        "longest_task_ms": max(seen["long"], default=0.0),
    }


def walk(page: Page) -> None:
    for _ in range(60):
        page.keyboard.press("j")
        page.wait_for_timeout(30)
    page.keyboard.press("/")
    page.keyboard.type("batch:7 shell", delay=60)
    page.wait_for_timeout(500)
    page.fill("#filter", "")
    page.keyboard.press("Escape")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    settings = {"DEADSTOP_MAX_RUNNING": "1", "DEADSTOP_MAX_QUEUED": str(options.jobs)}
    with (
        tempfile.TemporaryDirectory(prefix="ds-") as name,
        sync_playwright() as playwright,
        running_server(Path(name) / "s", env=settings) as server,
    ):
        job_id = fill(server, options.jobs, 300.0)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(server.url)
        page.fill("#token", server.token)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#rows [role=row]")).to_have_count(options.jobs, timeout=20_000)
        figures = {"the table": measure(page, options.seconds)}
        page.evaluate("id => { location.hash = id; }", job_id)
        expect(page.locator("#output")).to_contain_text("step")
        figures["a job open beside it"] = measure(page, options.seconds)
        page.keyboard.press("Escape")
        figures["keys and filter"] = measure(page, options.seconds, walk)
        browser.close()
    columns = ("", "frames", "median ms", "p99 ms", "longest ms", f"tasks > {LONG_MS} ms", "longest task ms")
    title = f"{options.jobs} jobs in the table, {EVENTS_PER_S} events/s"
    report.table(title, columns, [(what, *row.values()) for what, row in figures.items()])
    report.save("dashboard", {"jobs": options.jobs, "events_per_s": EVENTS_PER_S, "figures": figures})


if __name__ == "__main__":
    main()
