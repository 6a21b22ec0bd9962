"""Data for a runner besides the job's input: its environment, and for an agent its settings and key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.protocol import Describe, RunTask
from supervisor.config import Settings
from supervisor.engine.order import Order
from supervisor.guardian.environment import passed_environment
from supervisor.node.run_as import RunAs

AGENT_MODULE = "runner.tasks.agent"
"""The only module that receives the agent's settings and key: tasks of users never see them."""


@dataclass(frozen=True, slots=True)
class LaunchSettings:
    """The part of the server's settings that runners need."""

    environment: dict[str, str]
    agent_options: dict[str, Any]
    agent_secrets: dict[str, str] = field(repr=False)
    run_as: RunAs

    @classmethod
    def from_settings(cls, settings: Settings, mark: dict[str, str]) -> LaunchSettings:
        """`mark` is an environment variable that identifies the processes of this server's jobs.

        Raise StartupError if RUN_AS cannot be used.
        """
        options = {
            "model": settings.agent_model,
            "base_url": settings.agent_base_url,
            "max_steps": settings.agent_max_steps,
            "max_tokens": settings.agent_max_tokens,
            "time_s": settings.agent_time_s,
            "silence_s": settings.agent_silence_s,
        }
        key = settings.agent_key()
        secrets = {} if key is None else {"key": key.get_secret_value()}
        run_as = RunAs.find(settings.run_as)
        environment = passed_environment(settings.pass_env) | run_as.environment | mark
        return cls(environment, options, secrets, run_as)

    def work(self, order: Order, workspace: Path, short_path: Path | None = None) -> RunTask:
        """Return the message that starts the task of this order in a runner."""
        agent = order.module == AGENT_MODULE
        return RunTask(
            job_id=order.job_id,
            module=order.module,
            task=order.task,
            input=dict(order.input),
            workspace=str(workspace),
            short_path=None if short_path is None else str(short_path),
            environment=self.environment | dict(order.environment),
            options=self.agent_options if agent else {},
            secrets=self.agent_secrets if agent else {},
            user=self.run_as.user,
        )

    def describe(self, module: str) -> Describe:
        return Describe(module, self.environment, self.run_as.user)
