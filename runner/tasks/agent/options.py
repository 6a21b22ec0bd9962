"""The server's settings for agents, and the part of them that a job's input may change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from runner.errors import TaskFailed

DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Options:
    """Limits are per job; durations are seconds. `model` is `provider:name` or `demo`."""

    model: str
    base_url: str | None
    max_steps: int
    max_tokens: int
    time_s: float
    silence_s: float

    @classmethod
    def for_job(cls, settings: dict[str, Any], model: str | None, max_steps: int | None) -> Options:
        """Raise TaskFailed (kind load) for a model or a limit that the server does not allow."""
        options = cls(**settings)
        if model is not None:
            options = replace(options, model=_allowed(model, options.model))
        if max_steps is not None:
            if max_steps > options.max_steps:
                raise TaskFailed(
                    "load",
                    f"cannot take {max_steps} steps: this server allows {options.max_steps} (DEADSTOP_AGENT_MAX_STEPS)",
                )
            options = replace(options, max_steps=max_steps)
        return options

    @property
    def provider(self) -> str:
        return self.model.partition(":")[0]

    @property
    def where(self) -> str:
        """The provider, for messages."""
        return self.provider if self.base_url is None else f"{self.provider} at {self.base_url}"


def _allowed(wanted: str, configured: str) -> str:
    """Return the full name of a model of the configured provider. The server's key must not be sent to another one."""
    if wanted in (DEMO, configured):
        return wanted
    provider, separator, _ = configured.partition(":")
    if separator and ":" not in wanted:
        return f"{provider}:{wanted}"
    if separator and wanted.partition(":")[0] == provider:
        return wanted
    known = f"models of {provider!r} and 'demo'" if separator else "'demo' alone: set DEADSTOP_AGENT_MODEL for others"
    raise TaskFailed("load", f"cannot use model {wanted!r}: this server's agents use {known}")
