"""Run agents in a test, with a fake provider that plays a script."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.supervisor import Supervisor
from tests.support.core import running, scenario
from tests.support.provider import Behaviour, Provider, provider

KEY = "sk-test-0123456789abcdef"


def also(*values: object) -> Any:
    """A case for the longer run."""
    return pytest.param(*values, marks=pytest.mark.suite)


def asking(tmp_path: Path, *script: Behaviour, body: Callable[[Supervisor, Provider], Awaitable[None]]) -> None:
    """Run `body` against a server that has the key in its environment, and a model that answers as `script` says."""

    async def main() -> None:
        async with (
            provider(*script) as model,
            running(
                tmp_path,
                agent_model="openai:test",
                agent_base_url=model.url,
                agent_key_env="TEST_MODEL_KEY",
                agent_silence_s=1.0,
                agent_max_steps=20,
            ) as supervisor,
        ):
            await body(supervisor, model)

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TEST_MODEL_KEY", KEY)
        scenario(main)
