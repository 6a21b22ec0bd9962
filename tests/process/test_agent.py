"""Agents with a provider that responds correctly, wrongly or not at all, and the demo model, which needs none."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.tasks.agent.demo.application import FOLDER, TEST_COMMAND, parts
from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.supervisor import Supervisor
from tests.support import provider as providers
from tests.support.agents import KEY, also, asking
from tests.support.core import ended, output, running, scenario, submit
from tests.support.pages import pages
from tests.support.provider import Behaviour, Provider, calls, provider, refuses

BOUND_S = 30.0


def told(record: LiveJob) -> str:
    """Return everything that a client can read about a job."""
    events = [str(item.data) for item in record.log.read(0, limit=100_000) if hasattr(item, "data")]
    return "\n".join(events) + repr(record.job)


def results_of_tools(conversation: providers.Conversation) -> list[str]:
    return [message["content"] for message in conversation.body["messages"] if message["role"] == "tool"]


def every_tool(outside: Path) -> tuple[Behaviour, ...]:
    """Use each tool once, and then try three ways out of the working folder."""
    look = "env; cat /proc/$PPID/environ /proc/$PPID/cmdline | tr '\\0' '\\n'; echo end-of-look"
    return (
        calls("write_file", path="a/b.txt", content="hello\n"),
        calls("read_file", path="a/b.txt"),
        calls("run_command", command=look),
        calls("list_files"),
        calls("read_file", path="../outside.txt"),
        calls("read_file", path="link"),
        calls("write_file", path=str(outside), content="no"),
        providers.says("All ", "done."),
    )


def test_words_tools_and_the_key_where_it_belongs(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("SECRET OF THE DISK")
    workdir = tmp_path / "work"
    workdir.mkdir()
    (workdir / "link").symlink_to(outside)

    async def body(supervisor: Supervisor, model: Provider) -> None:
        record = submit(supervisor, "agent", prompt="Do it.", cwd=str(workdir))
        await ended(record, BOUND_S)
        assert record.job.state is State.SUCCEEDED, record.job
        result: Any = record.job.result
        assert result["answer"] == "All done."
        assert result["steps"] == 8
        assert result["tokens"] == {"input": 56, "output": 40}
        assert result["files"] == ["a/b.txt"]
        assert "All done." in output(record)
        assert (workdir / "a/b.txt").read_text() == "hello\n"
        assert outside.read_text() == "SECRET OF THE DISK"
        wrote, read, looked, listed, *refused = results_of_tools(model.conversations[-1])
        assert wrote.startswith("wrote a/b.txt")
        assert read == "hello\n"
        assert "end-of-look" in looked
        assert "exit code 0" in looked
        assert "a/b.txt" in listed
        assert all("outside of the working folder" in answer for answer in refused), refused
        assert all(conversation.headers["authorization"] == f"Bearer {KEY}" for conversation in model.conversations)
        assert KEY not in told(record)
        assert KEY not in json.dumps([conversation.body for conversation in model.conversations])

    asking(tmp_path / "state", *every_tool(outside), body=body)


@pytest.mark.suite
def test_a_page_is_opened_in_a_browser_that_lives_as_long_as_the_agent(tmp_path: Path) -> None:
    async def main() -> None:
        async with pages() as web:
            script = (
                calls("open_page", url=f"{web.url}/hello"),
                calls("open_page", url="file:///etc/passwd"),
                providers.says("Seen."),
            )

            async def body(supervisor: Supervisor, model: Provider) -> None:
                record = await ended(submit(supervisor, "agent", prompt="Look."), BOUND_S)
                assert record.job.state is State.SUCCEEDED, record.job
                page, refused = results_of_tools(model.conversations[-1])
                assert page.startswith(f"Hello\n{web.url}/hello (HTTP 200)")
                assert refused.startswith("cannot open file:///etc/passwd")
                assert [held.released_at is not None for held in record.job.resources if held.kind == "browser"] == [
                    True
                ]

            async with (
                provider(*script) as model,
                running(tmp_path, agent_model="openai-chat:test", agent_base_url=model.url) as supervisor,
            ):
                await body(supervisor, model)

    scenario(main)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        also(providers.never_answers, "said nothing for 1 s"),
        also(providers.stalls_before_the_first_token, "said nothing for 1 s"),
        (providers.closes_half_way, "broke off"),
        also(refuses("429 Too Many Requests", "slow down", "retry-after-ms: 10"), "takes no more requests"),
        also(refuses("404 Not Found", "no such model"), "has no model 'openai:test'"),
        also(refuses("500 Internal Server Error", "oh", "retry-after-ms: 10"), "answered HTTP 500: oh"),
        also(providers.talks_garbage, "not understood"),
        also(providers.is_a_web_page, "not understood"),
        (providers.echoes_the_key, "refused the key: check the variable that DEADSTOP_AGENT_KEY_ENV names"),
        also(calls("list_files"), "reached its limit"),
    ],
    ids=["never", "stall", "half", "429", "404", "500", "garbage", "page", "key", "steps"],
)
def test_a_failure_says_what_to_do(tmp_path: Path, behaviour: Behaviour, words: str) -> None:
    async def body(supervisor: Supervisor, _model: Provider) -> None:
        record = await ended(submit(supervisor, "agent", prompt="Do it.", max_steps=2), BOUND_S)
        assert record.job.state is State.FAILED, record.job
        assert record.job.error is not None
        assert words in record.job.error.message, record.job.error
        assert record.job.error.traceback is None
        assert KEY not in told(record)

    asking(tmp_path, behaviour, body=body)


def test_a_provider_that_is_not_there_and_models_that_are_not_allowed(tmp_path: Path) -> None:
    async def main() -> None:
        address = "http://127.0.0.1:9/v1"
        async with running(tmp_path, agent_model="openai:test", agent_base_url=address) as supervisor:
            record = await ended(submit(supervisor, "agent", prompt="Do it."), BOUND_S)
            assert record.job.error is not None
            assert record.job.error.message.startswith(f"cannot reach openai at {address}: ")
            record = await ended(submit(supervisor, "agent", prompt="Do it.", model="anthropic:other"), BOUND_S)
            assert record.job.error is not None
            assert "use models of 'openai' and 'demo'" in record.job.error.message

    scenario(main)


@pytest.mark.suite
def test_the_demo_model_writes_an_application_whose_tests_pass(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as supervisor:
            record = submit(supervisor, "agent", prompt="create a large application with many files")
            await ended(record, 60)
            assert record.job.state is State.SUCCEEDED, record.job
            result: Any = record.job.result
            expected = [path for part in parts() for path, _ in part.files]
            assert len(expected) > 50
            assert result["files"] == sorted(expected)
            assert "exit code 0" in result["answer"]
            assert "Ran 20 tests" in output(record)
            (readme,) = supervisor.settings.state_dir.glob(f"files/{record.job.id}/**/README.md")
            command = TEST_COMMAND.replace(FOLDER, str(readme.parent), 1)
            again = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, cwd=os.sep)
            assert "Ran 20 tests" in again.stderr, again.stderr
            assert again.returncode == 0

    scenario(main)
