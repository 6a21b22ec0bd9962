"""Parts of the agent that can be tested without running one."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.atomic_file import open_atomic
from runner.browser import launched
from runner.cancellation import Cancellation
from runner.errors import TaskFailed
from runner.protocol import Log
from runner.reporter import Reporter
from runner.tasks.agent.demo.application import TEST_COMMAND, parts
from runner.tasks.agent.models import make_model
from runner.tasks.agent.options import Options
from supervisor.config import load_settings
from supervisor.core.jobs.model import Job, JobRequest
from supervisor.engine.containment import Level
from supervisor.engine.order import Needs, Order
from supervisor.errors import StartupError
from supervisor.node.launch_settings import AGENT_MODULE, LaunchSettings

ROOT = Path(__file__).parents[2]
KEY = 'sk-"quoted"-0123456789'
SERVER: dict[str, Any] = {
    "model": "openai:big", "base_url": None, "max_steps": 10, "max_tokens": 1000, "time_s": 60.0, "silence_s": 5.0,
}  # fmt: skip

JOB = Job("j", JobRequest("agent", {"prompt": "Do it."}), datetime.now(UTC), Level.SUBREAPER)


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    made = Cancellation(lambda: None)
    yield made
    os.close(made._wake_read)
    os.close(made._wake_write)


@pytest.mark.parametrize(
    ("wanted", "used"),
    [(None, "openai:big"), ("demo", "demo"), ("small", "openai:small"), ("openai:small", "openai:small")],
)
def test_a_job_chooses_among_the_models_of_the_servers_provider(wanted: str | None, used: str) -> None:
    assert Options.for_job(SERVER, wanted, None).model == used


@pytest.mark.parametrize(
    ("server", "wanted", "words"),
    [
        ("openai:big", "anthropic:big", "models of 'openai' and 'demo'"),
        ("demo", "openai:big", "'demo' alone: set DEADSTOP_AGENT_MODEL"),
        ("demo", "big", "'demo' alone"),
    ],
)
def test_the_key_of_one_provider_does_not_go_to_another(server: str, wanted: str, words: str) -> None:
    with pytest.raises(TaskFailed, match=words):
        Options.for_job({**SERVER, "model": server}, wanted, None)


def test_a_job_takes_fewer_steps_but_not_more() -> None:
    assert Options.for_job(SERVER, None, 3).max_steps == 3
    with pytest.raises(TaskFailed, match="allows 10"):
        Options.for_job(SERVER, None, 11)


def order_for(module: str) -> Order:
    return Order("j", module, "agent", {}, Needs(Level.SUBREAPER), 2.0)


def test_the_key_is_read_from_the_server_and_handed_to_agents_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    orders = LaunchSettings.from_settings(load_settings(state_dir=tmp_path, agent_key_env="A_KEY"), mark={})
    work = orders.work(order_for(AGENT_MODULE), tmp_path)
    assert work.secrets == {"key": KEY}
    assert "A_KEY" not in work.environment
    assert KEY not in repr(work) + repr(orders)
    for module in ("runner.tasks.shell", "mine"):
        other = orders.work(order_for(module), tmp_path)
        assert other.secrets == {}
        assert other.options == {}


def test_a_key_that_is_not_there_or_would_be_passed_on_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(StartupError, match="DEADSTOP_AGENT_KEY_ENV names A_KEY, which is not in"):
        load_settings(state_dir=tmp_path, agent_key_env="A_KEY")
    monkeypatch.setenv("A_KEY", KEY)
    with pytest.raises(StartupError, match="cannot be in DEADSTOP_PASS_ENV"):
        load_settings(state_dir=tmp_path, agent_key_env="A_KEY", pass_env="A_KEY")


@pytest.mark.parametrize(("secret", "hidden"), [(KEY, True), ("none", False)])
def test_what_a_runner_reports_is_without_the_jobs_secrets(
    cancellation: Cancellation, secret: str, hidden: bool
) -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        Reporter(mine, cancellation, [secret]).send(Log("info", "said", {"by the provider": secret}))
        line = theirs.recv(65536)
    assert (b"[secret]" in line) is hidden
    assert (b"0123456789" in line) is False


def test_a_thread_of_an_async_task_that_sees_the_cancel_leaves_the_task_to_be_cancelled(
    cancellation: Cancellation,
) -> None:

    def ask_and_notice() -> None:
        cancellation.request()
        assert cancellation.notice()

    async def body() -> None:
        current = asyncio.current_task()
        assert current is not None
        cancellation.bind_async(current)
        asker = threading.Thread(target=ask_and_notice)
        asker.start()
        asker.join()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.Event().wait(), 5)
        cancellation.unbind_async()

    asyncio.run(body())


def test_the_tests_of_the_demos_application_pass_and_can_fail(tmp_path: Path) -> None:
    files = {path: content for part in parts() for path, content in part.files}
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    command = ["sh", "-c", TEST_COMMAND]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "Ran 20 tests" in done.stderr) == (0, True), done.stderr
    broken = next(path for path in files if path.endswith("orders/table.py"))
    (tmp_path / broken).write_text(files[broken].replace("rowcount == 1", "rowcount == 2"))
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_listing_the_tasks_needs_none_of_the_extras() -> None:
    look = (
        "import runner.tasks.agent, runner.tasks.browse, sys; print({'pydantic_ai', 'playwright'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai.models", None)
    with pytest.raises(TaskFailed, match=r"pip install 'deadstop\[agent\]'"):
        make_model(Options(**SERVER), None)
    monkeypatch.setitem(sys.modules, "playwright.async_api", None)

    async def launch() -> None:
        async with launched(tmp_path, open_atomic):
            pass

    with pytest.raises(TaskFailed, match=r"pip install 'deadstop\[browser\]'"):
        asyncio.run(launch())


def test_a_provider_without_its_key_or_its_package_says_what_is_missing() -> None:
    with pytest.raises(TaskFailed, match="set DEADSTOP_AGENT_KEY_ENV to the name of the variable"):
        make_model(Options(**SERVER), None)
    with pytest.raises(TaskFailed, match="cannot use model 'nobody:big'"):
        make_model(Options(**{**SERVER, "model": "nobody:big"}), KEY)
    with pytest.raises(TaskFailed, match=r"cannot use model 'anthropic:big'.*install"):
        make_model(Options(**{**SERVER, "model": "anthropic:big"}), KEY)
