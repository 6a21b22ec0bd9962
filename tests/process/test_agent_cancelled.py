"""An agent is cancelled in every phase: its whole tree is gone, and the provider sees its connection closed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from supervisor.core.jobs.registry import LiveJob
from supervisor.core.supervisor import Supervisor
from tests.support import provider as providers
from tests.support.agents import also, asking
from tests.support.attempts import guardian_pid
from tests.support.core import cancel, ended, output, says, submit, until
from tests.support.provider import Behaviour, Provider, calls
from tests.support.trees import a_tree, cancelled_in_time, named, there


async def connecting(_record: LiveJob, model: Provider) -> None:
    await model.wait_for_request()


async def streaming(record: LiveJob, _model: Provider) -> None:
    await says(record, "word word")


async def in_a_terminal(record: LiveJob, _model: Provider) -> None:
    await says(record, "TOOL-RUNS")


async def starting_a_browser(record: LiveJob, _model: Provider) -> None:
    await until(lambda: bool(named(record, "chromium")))


async def between_steps(_record: LiveJob, model: Provider) -> None:
    await model.wait_for_request(5)


async def importing(record: LiveJob, _model: Provider) -> None:
    await until(lambda: record.job.phase == "startup")


STUBBORN = calls("run_command", command="trap '' TERM; setsid sleep 300 & echo TOOL-''RUNS; sleep 300")


@pytest.mark.parametrize(
    ("behaviour", "moment", "provider_hears"),
    [
        also(providers.never_answers, importing, False),
        also(providers.never_answers, connecting, True),
        also(providers.stalls_before_the_first_token, connecting, True),
        (providers.speaks_slowly, streaming, True),
        (STUBBORN, in_a_terminal, False),
        also(calls("open_page", url="data:text/html,hello"), starting_a_browser, False),
        also(calls("list_files"), between_steps, False),
    ],
    ids=["importing", "connecting", "stalled", "streaming", "terminal", "browser", "between"],
)
def test_cancel_in_every_phase(
    tmp_path: Path,
    behaviour: Behaviour,
    moment: Callable[[LiveJob, Provider], Awaitable[None]],
    provider_hears: bool,
) -> None:
    async def body(supervisor: Supervisor, model: Provider) -> None:
        record = submit(supervisor, "agent", prompt="Do it.")
        await until(lambda: guardian_pid(record) > 0)
        await moment(record, model)
        tree = {entry for entry in a_tree(record) if entry[0] != guardian_pid(record)}
        assert tree
        cancel(supervisor, record)
        await ended(record)
        assert not there(tree)
        proof = cancelled_in_time(record)
        assert proof.workspace_removed
        assert "Traceback" not in output(record)
        assert "never retrieved" not in output(record)
        if provider_hears:
            await until(model.conversations[0].hung_up.is_set)
            # The agent was asked to stop and closed the connection itself. It did not have to be killed.
            assert str(proof.method) == "cooperative"

    asking(tmp_path, behaviour, body=body)
