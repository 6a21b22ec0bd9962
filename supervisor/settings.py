"""The settings of a server: the one place for their names, limits, defaults and help."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from deadstop.folders import WHAT_TO_DO, user_state_folder
from supervisor.errors import StartupError
from supervisor.tokens import NamedToken, check_sendable, parse_tokens

ENV_PREFIX = "DEADSTOP_"

CONTAINMENT_LEVELS = ("auto", "pgroup", "subreaper", "cgroup", "pidns")


def _split_commas(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]
"""In variables and on command lines the names are separated by commas."""
SecondsOrOff = Annotated[float, BeforeValidator(lambda value: 0.0 if value == "off" else value)]


def _default_state_dir() -> Path:
    folder = user_state_folder()
    if folder is None:
        raise StartupError(f"cannot find the state folder: {WHAT_TO_DO}")
    return folder


@dataclass(frozen=True, slots=True)
class Option:
    """Marks a setting that is an option of `serve`, too. The option's help and default are those of the field."""

    metavar: str | None = None
    aliases: tuple[str, ...] = ()
    may_be_off: bool = False
    """The value may also be the word `off`, for 0."""
    default: str | None = None
    """The description of a computed default in the help text."""


def option_of(field: FieldInfo) -> Option | None:
    """Return the setting's option. Secrets have none: every user of the machine can read a command line."""
    return next((mark for mark in field.metadata if isinstance(mark, Option)), None)


class Settings(BaseSettings):
    """Every setting of one server. Durations are seconds."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    host: Annotated[str, Field(description="Address to listen on."), Option()] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port; 0 picks a free one."), Option()] = 8700
    state_dir: Annotated[
        Path,
        Field(default_factory=_default_state_dir, description="Journal, token, workspaces."),
        Option("DIR", default="the user's state folder"),
    ]
    token: SecretStr | None = None
    tokens: Annotated[tuple[NamedToken, ...], NoDecode] = ()
    """More tokens, with names, scopes and limits; see `supervisor.tokens`."""
    tasks: Annotated[Names, Field(description="Task modules, comma separated or repeated."), Option("MODULE")] = ()
    tasks_off: Annotated[Names, Field(description="Tasks to switch off, by name."), Option("TASK")] = ()
    warm: Annotated[int, Field(ge=0, le=256, description="Process sets kept ready."), Option("N")] = 2
    max_running: Annotated[int, Field(ge=1, le=10_000, description="Jobs at a time."), Option("N")] = 64
    max_queued: Annotated[int, Field(ge=0, le=1_000_000, description="Jobs that may wait."), Option("N")] = 1000
    cancel_budget_s: Annotated[
        float, Field(ge=0.5, le=60, description="From cancel to proof."), Option("S", aliases=("--cancel-budget",))
    ] = 2.0
    containment: Annotated[str, Field(description="Containment level."), Option("LEVEL")] = "auto"
    engine: Annotated[str, Field(description="What starts attempts."), Option("NAME")] = "local"
    run_as: Annotated[
        str | None, Field(description="User that jobs run as, when the server is root."), Option("USER")
    ] = None
    allowed_hosts: Annotated[
        Names, Field(description="More Host headers to accept, comma separated or repeated."), Option("HOST")
    ] = ()
    pass_env: Annotated[
        Names, Field(description="Variables that jobs inherit, comma separated or repeated."), Option("NAME")
    ] = ()
    keep_jobs: Annotated[int, Field(ge=1, description="Finished jobs to keep."), Option("N")] = 10_000
    keep_s: Annotated[float, Field(gt=0, description="How long to keep finished jobs."), Option("S")] = 7 * 24 * 3600.0
    keep_bytes: Annotated[int, Field(ge=16 * 1024 * 1024, description="Size of the journal."), Option("N")] = 1024**3
    vanished_after_s: Annotated[
        float, Field(ge=0.2, le=600, description="When a silent peer counts as vanished."), Option("S")
    ] = 1.0
    """How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT)."""
    frozen_after_s: Annotated[
        float, Field(ge=1, le=86_400, description="When a stuck reader is cut, at the earliest."), Option("S")
    ] = 30.0
    """How long a client may leave waiting data unread before its connection is closed."""
    stuck_after_s: Annotated[
        SecondsOrOff,
        Field(ge=0, le=86_400, description="When a silent runner counts as stuck, or off."),
        Option("S", may_be_off=True),
    ] = 30.0
    stuck_no_event_s: Annotated[
        SecondsOrOff,
        Field(ge=0, le=86_400 * 30, description="When a silent task counts as stuck, or off."),
        Option("S", may_be_off=True),
    ] = 0.0
    stuck_action: Annotated[
        Literal["report", "cancel"], Field(description="What happens to a stuck job."), Option("report|cancel")
    ] = "report"
    import_s: Annotated[
        float, Field(gt=0, le=86_400, description="How long a task module may take to import."), Option("S")
    ] = 30.0
    """After this time the description of the module fails, and a job that waits for it counts as stuck."""
    agent_model: Annotated[
        str, Field(pattern=r"^(demo|[a-z0-9/-]+:\S+)$", description="Model of agents."), Option("PROVIDER:NAME")
    ] = "demo"
    """For example `openai:gpt-5`. `demo` needs no provider."""
    agent_base_url: Annotated[
        Annotated[str, Field(pattern=r"^https?://\S+$")] | None,
        Field(description="Where the agents' provider is."),
        Option("URL"),
    ] = None
    agent_key_env: Annotated[
        str | None, Field(description="The server's variable that holds the provider's key."), Option("NAME")
    ] = None
    agent_max_steps: Annotated[int, Field(ge=1, le=10_000, description="Steps of one agent."), Option("N")] = 100
    agent_max_tokens: Annotated[int, Field(ge=1, description="Tokens of one agent."), Option("N")] = 2_000_000
    agent_time_s: Annotated[float, Field(gt=0, le=86_400, description="Time of one agent."), Option("S")] = 1800.0
    agent_silence_s: Annotated[
        float, Field(gt=0, le=3600, description="Longest silence of a provider."), Option("S")
    ] = 120.0
    """Time without data before or within a provider's answer."""

    @field_validator("stuck_after_s")
    @classmethod
    def _longer_than_a_beat(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError("must be at least 1: a runner beats every half second; off for never")
        return value

    @field_validator("containment")
    @classmethod
    def _level_exists(cls, value: str) -> str:
        # The server tries at its start whether this machine supports the level.
        if value not in CONTAINMENT_LEVELS:
            raise ValueError(f"unknown level {value!r}; use one of {', '.join(CONTAINMENT_LEVELS)}")
        return value

    @field_validator("engine")
    @classmethod
    def _engine_exists(cls, value: str) -> str:
        if value != "local":
            raise ValueError(f"engine {value!r} is not available in this version; use local")
        return value

    @field_validator("run_as")
    @classmethod
    def _empty_means_unset(cls, value: str | None) -> str | None:
        # The server checks at its start whether the user exists.
        return value or None

    @field_validator("token")
    @classmethod
    def _token_is_sendable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_sendable(value)
        return value

    @field_validator("tokens", mode="before")
    @classmethod
    def _parse_tokens(cls, value: Any) -> tuple[NamedToken, ...]:
        return parse_tokens(value)

    @model_validator(mode="after")
    def _tokens_are_distinct(self) -> Settings:
        for named in self.tokens:
            if self.token is not None and named.token.get_secret_value() == self.token.get_secret_value():
                raise ValueError(f"the token {named.name} of DEADSTOP_TOKENS is the one of DEADSTOP_TOKEN")
        return self

    @model_validator(mode="after")
    def _reachable_server_needs_token(self) -> Settings:
        if not is_loopback(self.host) and self.token is None and not self.tokens:
            raise ValueError(f"host {self.host} is reachable from outside: set DEADSTOP_TOKEN as well")
        return self

    @model_validator(mode="after")
    def _tokens_stay_here(self) -> Settings:
        for name in self.pass_env:
            if name.upper() in {"DEADSTOP_TOKEN", "DEADSTOP_TOKENS"}:
                raise ValueError(f"{name} opens this server: it cannot be in DEADSTOP_PASS_ENV")
        return self

    @model_validator(mode="after")
    def _agent_key_is_there_and_stays_here(self) -> Settings:
        name = self.agent_key_env
        if name is not None and not os.environ.get(name):
            raise ValueError(f"DEADSTOP_AGENT_KEY_ENV names {name}, which is not in the server's environment")
        if name in self.pass_env:
            raise ValueError(
                f"{name} holds the agent's key (DEADSTOP_AGENT_KEY_ENV): it cannot be in DEADSTOP_PASS_ENV"
            )
        return self

    def agent_key(self) -> SecretStr | None:
        """Return the provider's key from the server's environment."""
        return None if self.agent_key_env is None else SecretStr(os.environ[self.agent_key_env])

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load_settings` merges the file, with a lower priority than everything that pydantic-settings reads.
        return (init_settings, env_settings)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
