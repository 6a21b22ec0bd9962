"""The dashboard in a real browser: sign in, run, watch, cancel, see the proof; and what hangs, with its line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.process.test_stacks import HUNG
from tests.support.dashboard import needs_chromium, submit
from tests.support.server import RunningServer, running_server

STUBBORN = "trap '' TERM HUP; echo UP; setsid sleep 70 & while :; do sleep 1; done"
SETTINGS = {"DEADSTOP_TASKS": "tests.children.hung", "DEADSTOP_STUCK_AFTER_S": "1"}

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def server(short_dir: Path) -> Iterator[RunningServer]:
    with running_server(short_dir / "dashboard", env=SETTINGS) as running:
        yield running


def test_run_watch_cancel_and_see_the_proof(server: RunningServer, page: Page) -> None:
    page.get_by_role("button", name="Start a demo job").click()
    expect(page.locator("#job-state")).to_have_text("running")
    expect(page.locator("#output")).to_contain_text("step 1 of 60")
    expect(page.locator("#tree-sum")).to_contain_text("in a session of their own")
    expect(page.locator("#processes .left").first).to_be_visible()
    expect(page.locator("#phase-legend")).to_contain_text("tool")
    expect(page.locator("#resources")).to_contain_text("process tree of sleepers")
    before = int(page.locator("#p-count").inner_text())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#verdict")).to_contain_text("gone after")
    expect(page.locator("#kill-steps")).to_contain_text("proof: ")
    expect(page.locator("#kill-line .limit-text")).to_have_text("2 s")
    expect(page.locator("#processes")).to_be_hidden()
    expect(page.locator("#p-count")).to_have_text(str(before + 1))
    expect(page.locator("#p-late")).to_have_text("0")
    job = server.job(page.url.partition("#")[2])
    assert (job["state"], job["cancellation"]["detail"]) == ("cancelled", "dashboard")


def test_with_the_keyboard_alone(server: RunningServer, page: Page) -> None:
    older = submit(server, "shell", command=STUBBORN)
    newer = submit(server, "shell", command=STUBBORN)
    for job_id in (older, newer):
        expect(page.locator(f"#row-{job_id} .pill")).to_have_text("running")
    page.keyboard.press("j")
    expect(page.locator(f"#row-{newer} a")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#job-title")).to_contain_text(older)
    expect(page.locator("#output")).to_contain_text("UP")
    page.keyboard.press("c")
    expect(page.locator("#kill-steps")).to_contain_text("SIGKILL → ")
    expect(page.locator("#verdict")).to_contain_text("sigkill, proof")
    page.keyboard.press("k")
    page.keyboard.press("f")
    expect(page.locator(f"#row-{newer} .pill")).to_have_text("cancelled")
    assert server.job(newer)["cancellation"]["force"] is True
    page.keyboard.press("Escape")
    expect(page.locator("#job")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type(older)
    expect(page.locator("#rows [role=row]:visible")).to_have_count(1)


def test_a_stuck_job_is_first_with_its_line_and_the_button_that_ends_it(server: RunningServer, page: Page) -> None:
    job_id = submit(server, "gil_hog", seconds=60)
    item = page.locator(f"#stuck li[data-id='{job_id}']")
    marked = [n for n, line in enumerate(HUNG.read_text().splitlines(), 1) if line.endswith("# gil_hog hangs here")]
    expect(item.locator(".where")).to_have_text(f"children/hung.py:{marked[0]} in gil_hog", timeout=10_000)
    expect(item.locator(".why")).to_contain_text("code in C holds the interpreter lock and waits")
    item.get_by_role("button", name="Look").click()
    page.keyboard.press("s")
    expect(page.locator("#stack-text .here")).to_contain_text("hung.py")
    item.get_by_role("button", name="Cancel").click()
    expect(page.locator("#verdict")).to_contain_text("gone after")
    expect(page.locator("#stuck")).to_be_hidden()


def test_the_line_that_is_copied_really_cancels(server: RunningServer, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    job_id = submit(server, "shell", command="sleep 60")
    page.locator(f"#row-{job_id}").click()
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    line = page.evaluate("navigator.clipboard.readText()")
    env = {"PATH": os.environ["PATH"], "DEADSTOP_TOKEN": server.token}
    done = subprocess.run(["sh", "-c", f"{line} -sS -f"], env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["id"] == job_id
    assert server.wait_finished(job_id)["state"] == "cancelled"
    expect(page.get_by_role("button", name="Copy as curl")).to_be_disabled()


@pytest.mark.parametrize("which", ["newest", "oldest"])
def test_the_row_of_the_job_that_the_address_names_is_seen_in_its_place(
    server: RunningServer, page: Page, which: str
) -> None:
    ids = [submit(server, "shell", argv=["true"]) for _ in range(30)]
    for job_id in ids:
        server.wait_finished(job_id)
    named, above = (ids[-1], None) if which == "newest" else (ids[0], ids[1])
    page.goto("about:blank")
    page.goto(f"{server.url}/#{named}")
    expect(page.locator("#job-title")).to_contain_text(named)
    expect(page.locator(f"#row-{ids[15]}")).to_be_attached()  # the lists have come
    row = page.locator(f"#row-{named}")
    expect(row).to_be_in_viewport()
    before = row.evaluate("row => row.previousElementSibling?.dataset.id ?? null")
    assert before == above


def test_a_failure_is_shown_before_everything_else(server: RunningServer, page: Page) -> None:
    job_id = submit(server, "shell", command="exit 3")
    server.wait_finished(job_id)
    page.evaluate("id => { location.hash = id }", job_id)
    expect(page.locator("#outcome-text")).to_have_text("the command ended with exit code 3")
    expect(page.locator("#job h3:visible").first).to_have_text("Error: exited")


def test_a_terminal_s_output_and_a_reader_who_has_scrolled_up(server: RunningServer, page: Page) -> None:
    command = (
        "printf 'loading 10%%\\rloading 99%%\\n'; printf 'one\\ntwo\\n\\033[2Adone\\033[K\\n\\n'; "
        "printf '\\033[1;31mred\\033[0m <b>plain</b>\\n'; seq 300; "
        "while ! test -e go; do sleep 0.05; done; echo LAST; sleep 60"
    )
    job_id = submit(server, "shell", command=command)
    page.locator(f"#row-{job_id}").click()
    output = page.locator("#output")
    expect(output).to_contain_text("300")
    assert output.locator("div").first.inner_text() == "loading 99%"
    assert output.locator("div").nth(1).inner_text() == "done"
    assert output.locator("div").nth(2).inner_text() == "two"
    expect(output.locator("span.c1.bold")).to_have_text("red")
    expect(output).to_contain_text("<b>plain</b>")
    output.evaluate("box => box.scrollTo(0, 0)")
    expect(page.locator("#follow")).to_contain_text("paused")
    (server.state_dir / "workspaces" / job_id / "go").touch()
    expect(output).to_contain_text("LAST")
    assert output.evaluate("box => box.scrollTop") == 0
    page.locator("#follow").click()
    expect(page.locator("#follow")).to_be_hidden()
    assert output.evaluate("box => box.scrollTop") > 0
    page.keyboard.press("f")
    expect(page.locator("#verdict")).to_contain_text("gone after")


def test_on_a_telephone_nothing_is_wider_than_the_screen(server: RunningServer, page: Page) -> None:
    job_id = submit(server, "shell", command="echo " + "wide" * 200)
    page.set_viewport_size({"width": 360, "height": 740})
    row = page.locator(f"#row-{job_id}")
    expect(row.locator(".pill")).to_have_text("succeeded")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    row.click()
    expect(page.locator("#jobs")).to_be_hidden()
    expect(page.locator("#output")).to_contain_text("widewide")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("button", name="Close").click()
    expect(row).to_be_visible()


def test_only_our_own_files_may_run(server: RunningServer, page: Page) -> None:
    policy = server.http.get("/", headers={"Accept": "text/html"}).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert page.evaluate("document.querySelectorAll('script:not([src]), style, [style]:not(#chart *)').length") == 0
