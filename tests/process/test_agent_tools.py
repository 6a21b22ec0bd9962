"""Mistakes of a model are answered, so that it can correct them, and tool calls that never end are ended."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.supervisor import Supervisor
from tests.support import provider as providers
from tests.support.core import ended, events, output, running, scenario, submit
from tests.support.provider import Behaviour, Provider, calls, provider

BOUND_S = 30.0


def asking(
    tmp_path: Path, *script: Behaviour, body: Callable[[Supervisor, Provider], Awaitable[None]], **settings: Any
) -> None:
    async def main() -> None:
        async with (
            provider(*script) as model,
            running(tmp_path, agent_model="openai:test", agent_base_url=model.url, **settings) as supervisor,
        ):
            await body(supervisor, model)

    scenario(main)


def answers(model: Provider) -> list[str]:
    return [said["content"] for said in model.conversations[-1].body["messages"] if said["role"] == "tool"]


ENDLESS = "trap '' TERM; echo BEGUN; while :; do sleep 60; done"


def test_mistakes_are_answered(tmp_path: Path) -> None:
    script = (
        calls("run_command", command="mkfifo pipe; touch $'raw\\xff'; seq 20000 > long"),
        calls("read_file", path="pipe"),
        calls("list_files"),
        calls("read_file", path="long"),
        calls("run_command", command="echo \0"),
        calls("read_file", path="a\0b"),
        calls("write_file", path=".", content="x"),
        calls("run_command", command="sleep 60", timeout_s=0.1),
        calls("run_command", command="true", timeout_s=1e12),
        providers.says("So be it."),
    )

    async def body(supervisor: Supervisor, model: Provider) -> None:
        record = await ended(submit(supervisor, "agent", prompt="Do it."), BOUND_S)
        assert record.job.state is State.SUCCEEDED, record.job
        made, pipe, listed, long, nul, path, folder, short, patient = answers(model)
        assert "exit code 0" in made
        assert pipe == "cannot read pipe: it is not a file"
        assert listed.splitlines() == ["long", r"raw\udcff"]
        assert long.startswith("1\n2\n")
        assert "the file goes on: these are 16000 characters of 108894 bytes" in long[16_000:]
        assert nul.startswith("cannot run ")
        assert path.startswith("cannot read a")
        assert folder == "cannot write .: Is a directory"
        assert "ended after 0.1 s" in short
        assert "exit code 0" in patient

    asking(tmp_path, *script, body=body)


@pytest.mark.suite
def test_a_command_without_end_does_not_outlast_the_agents_time(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, _model: Provider) -> None:
        record = await ended(submit(supervisor, "agent", prompt="Do it."), BOUND_S)
        assert record.job.error is not None
        assert record.job.error.message == "the agent had not finished within 2 s (DEADSTOP_AGENT_TIME_S)"
        assert "BEGUN" in output(record)
        assert worked_s(record) < 2 + 3, "the command was waited for"

    asking(tmp_path, calls("run_command", command=ENDLESS, timeout_s=1e12), body=body, agent_time_s=2.0)


def worked_s(record: LiveJob) -> float:
    """Return the time from the first step of the agent to the job's end."""
    first = next(event for event in events(record) if event["type"] == "job.phase" and event["phase"] == "llm")
    assert record.job.finished_at is not None
    return (record.job.finished_at - datetime.fromisoformat(first["at"])).total_seconds()


@pytest.mark.suite
@pytest.mark.parametrize(
    ("behaviour", "answer", "log"),
    [
        (providers.says_no_usage, "Done.", "DEADSTOP_AGENT_MAX_TOKENS could not be held"),
        (providers.says_half_of_it, r"Half \ud800", "the answer is not complete"),
    ],
)
def test_an_incomplete_or_unmeasured_answer_is_logged_as_a_warning(
    tmp_path: Path, behaviour: Behaviour, answer: str, log: str
) -> None:
    async def body(supervisor: Supervisor, _model: Provider) -> None:
        record = await ended(submit(supervisor, "agent", prompt="Do it."), BOUND_S)
        assert record.job.state is State.SUCCEEDED, record.job
        assert record.job.result["answer"] == answer
        assert output(record).strip() == answer
        (warned,) = (event for event in events(record) if event["type"] == "job.log")
        assert warned["level"] == "warning"
        assert log in warned["message"]

    asking(tmp_path, behaviour, body=body)


@pytest.mark.suite
def test_pages_that_are_none_and_two_at_once(tmp_path: Path) -> None:
    script = (
        calls("open_page", url="data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'><text>drawn</text></svg>"),
        calls("open_page", url="data:application/octet-stream,abc"),
        providers.calls_at_once(
            ("open_page", {"url": "data:text/html,first"}), ("open_page", {"url": "data:text/html,second"})
        ),
        providers.says("Seen."),
    )

    async def body(supervisor: Supervisor, model: Provider) -> None:
        begun = time.monotonic()
        record = await ended(submit(supervisor, "agent", prompt="Look."), BOUND_S)
        assert record.job.state is State.SUCCEEDED, record.job
        assert time.monotonic() - begun < BOUND_S / 2, "the drawing has no body, which was waited for"
        drawn, download, first, second = answers(model)
        assert drawn.endswith("drawn")
        assert "Download is starting" in download
        assert (first.split()[-1], second.split()[-1]) == ("first", "second")
        assert [held.kind for held in record.job.resources].count("browser") == 1

    asking(tmp_path, *script, body=body)
