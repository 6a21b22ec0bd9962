"""A real Chromium as a job: its results are right, and it leaves nothing behind whenever it is stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.supervisor import Supervisor
from tests.support.attempts import guardian_pid
from tests.support.core import cancel, ended, running, scenario, submit, until
from tests.support.pages import Pages, pages
from tests.support.trees import a_tree, cancelled_in_time, named, there

BOUND_S = 30.0
SHM = Path("/dev/shm")


def in_shm() -> set[str]:
    """Without what this process's own multiprocessing has there."""
    return {entry.name for entry in SHM.iterdir() if not entry.name.startswith("sem.")}


def browsing(tmp_path: Path, body: Callable[[Supervisor, Pages], Awaitable[None]]) -> None:
    async def main() -> None:
        # Far below the 107 bytes of a socket's path: a browser has to start there as well.
        deep = tmp_path / ("d" * 100) / ("e" * 60)
        async with pages() as web, running(deep) as supervisor:
            await body(supervisor, web)
            assert not list((deep / "workspaces").iterdir())

    before = in_shm()
    scenario(main)
    assert in_shm() <= before


def result(record: LiveJob) -> Any:
    assert record.job.state is State.SUCCEEDED, record.job
    return record.job.result


def test_a_page_its_title_and_a_screenshot(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, web: Pages) -> None:
        record = await ended(submit(supervisor, "browse", url=f"{web.url}/moved", wait_for="#late"), BOUND_S)
        assert result(record) == {
            "title": "Hello", "url": f"{web.url}/hello", "status": 200, "screenshot": "out/screenshot.png",
        }  # fmt: skip
        (picture,) = supervisor.settings.state_dir.glob(f"files/{record.job.id}/**/screenshot.png")
        content = picture.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">II", content[16:24]) == (1280, 800)
        (held,) = [entry for entry in record.job.resources if entry.kind == "browser"]
        assert held.released_at is not None
        assert record.job.leftovers in (None, 0)

    browsing(tmp_path, body)


def test_an_error_page_is_a_page_and_no_page_is_a_failure(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, web: Pages) -> None:
        missing, refused, late = await asyncio.gather(
            ended(submit(supervisor, "browse", url=f"{web.url}/missing", screenshot=False), BOUND_S),
            ended(submit(supervisor, "browse", url="http://127.0.0.1:9/"), BOUND_S),
            ended(submit(supervisor, "browse", url=f"{web.url}/never", timeout_s=3), BOUND_S),
        )
        assert result(missing)["status"] == 404
        assert result(missing)["screenshot"] is None
        assert refused.job.state is State.FAILED
        assert refused.job.error is not None
        assert refused.job.error.message.startswith("cannot open http://127.0.0.1:9/: net::ERR_")
        assert refused.job.error.traceback is None
        assert late.job.state is State.TIMED_OUT

    browsing(tmp_path, body)


async def launching(record: LiveJob, _web: Pages) -> None:
    await until(lambda: bool(named(record, "chromium")))


async def waiting_for_an_answer(_record: LiveJob, web: Pages) -> None:
    await web.wait_asked("/never")


async def computing_without_end(_record: LiveJob, web: Pages) -> None:
    await web.wait_asked("/beacon")


@pytest.mark.parametrize(
    ("path", "moment", "force"),
    [
        ("/hello", launching, False),
        ("/never", waiting_for_an_answer, False),
        ("/busy", computing_without_end, False),
        pytest.param("/busy", computing_without_end, True, marks=pytest.mark.suite),
    ],
)
def test_cancel_leaves_nothing(
    tmp_path: Path, path: str, moment: Callable[[LiveJob, Pages], Awaitable[None]], force: bool
) -> None:
    async def body(supervisor: Supervisor, web: Pages) -> None:
        # What the busy page would never come to keeps the job from succeeding before the cancel.
        record = submit(supervisor, "browse", url=web.url + path, wait_for="#never-there")
        await until(lambda: guardian_pid(record) > 0)
        await moment(record, web)
        # Its guardian reports and then ends; everything below it is the job.
        tree = {entry for entry in a_tree(record) if entry[0] != guardian_pid(record)}
        assert len(named(record, "chromium")) >= 1
        cancel(supervisor, record, force=force)
        await ended(record)
        assert not there(tree)
        proof = cancelled_in_time(record)
        assert proof.survivors == ()
        assert proof.workspace_removed

    browsing(tmp_path, body)


@pytest.mark.suite
@pytest.mark.parametrize("end", ["timeout", "runner-killed"])
def test_what_else_ends_it_leaves_nothing(tmp_path: Path, end: str) -> None:
    async def body(supervisor: Supervisor, web: Pages) -> None:
        limit = {"timeout_s": 3.0} if end == "timeout" else {}
        record = submit(supervisor, "browse", url=f"{web.url}/busy", wait_for="#never-there", **limit)
        await computing_without_end(record, web)
        tree = {entry for entry in a_tree(record) if entry[0] != guardian_pid(record)}
        assert len(named(record, "chromium")) >= 1
        if end == "runner-killed":
            (runner,) = named(record, "deadstop-runner")
            os.kill(runner, signal.SIGKILL)
        await ended(record)
        assert not there(tree)
        assert record.job.state is (State.TIMED_OUT if end == "timeout" else State.FAILED)
        held = [entry for entry in record.job.resources if entry.kind == "browser"]
        assert [entry.held for entry in held] == [False]

    browsing(tmp_path, body)


def test_a_missing_browser_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    async def body(supervisor: Supervisor, web: Pages) -> None:
        record = await ended(submit(supervisor, "browse", url=f"{web.url}/hello"), BOUND_S)
        assert record.job.error is not None
        assert record.job.error.kind == "load"
        assert record.job.error.message.endswith("Chromium is not installed; run: apt-get install chromium")

    browsing(tmp_path, body)
