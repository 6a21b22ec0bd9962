"""Settings: flags, else `DEADSTOP_*` variables, else `deadstop.toml`, else defaults. Read once, passed down."""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from supervisor.errors import StartupError
from supervisor.folders import WHAT_TO_DO, user_config_folder, user_state_folder
from supervisor.tokens import NamedToken, check_sendable, parse_tokens

ENV_PREFIX = "DEADSTOP_"

CONTAINMENT_LEVELS = ("auto", "pgroup", "subreaper", "cgroup", "pidns")


def _default_state_dir() -> Path:
    folder = user_state_folder()
    if folder is None:
        raise StartupError(f"cannot find the state folder: {WHAT_TO_DO}")
    return folder


class Settings(BaseSettings):
    """Every setting of one server. Durations are seconds."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8700
    state_dir: Path = Field(default_factory=_default_state_dir)
    token: SecretStr | None = None
    tokens: Annotated[tuple[NamedToken, ...], NoDecode] = ()
    """More tokens, with names, scopes and limits; see `supervisor.tokens`."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    max_running: Annotated[int, Field(ge=1, le=10_000)] = 64
    max_queued: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    cancel_budget_s: Annotated[float, Field(ge=0.5, le=60)] = 2.0
    warm: Annotated[int, Field(ge=0, le=256)] = 2
    stuck_after_s: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    """After so long a silence of a runner its job counts as stuck. 0, or "off": never."""
    stuck_no_event_s: Annotated[float, Field(ge=0, le=86_400 * 30)] = 0.0
    """The same for a silence of the task."""
    import_s: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    """How long the import of a task module may take: to describe it, or until a job that waits for it is stuck."""
    stuck_action: Literal["report", "cancel"] = "report"
    containment: str = "auto"
    tasks: Annotated[tuple[str, ...], NoDecode] = ()
    tasks_off: Annotated[tuple[str, ...], NoDecode] = ()
    """Names of tasks that nobody may run, built-in ones too."""
    keep_jobs: Annotated[int, Field(ge=1)] = 10_000
    keep_s: Annotated[float, Field(gt=0)] = 7 * 24 * 3600.0
    keep_bytes: Annotated[int, Field(ge=16 * 1024 * 1024)] = 1024 * 1024 * 1024
    """How many finished jobs the journal keeps, how long, and how large it may become."""
    engine: str = "local"
    agent_model: Annotated[str, Field(pattern=r"^(demo|[a-z0-9/-]+:\S+)$")] = "demo"
    """provider:name, such as `openai:gpt-5`, or `demo`, which needs no provider."""
    agent_base_url: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    agent_key_env: str | None = None
    """Name of the server's variable that holds the provider's key."""
    agent_max_steps: Annotated[int, Field(ge=1, le=10_000)] = 100
    agent_max_tokens: Annotated[int, Field(ge=1)] = 2_000_000
    agent_time_s: Annotated[float, Field(gt=0, le=86_400)] = 1800.0
    agent_silence_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """How long a provider may say nothing, before its first word or between two."""
    run_as: str | None = None
    """The user that jobs run as when the server is root."""
    pass_env: Annotated[tuple[str, ...], NoDecode] = ()
    """Names of variables that jobs get besides the allow-list."""
    vanished_after_s: Annotated[float, Field(ge=0.2, le=600)] = 1.0
    """How long sent bytes may stay unacknowledged before a peer counts as vanished (TCP_USER_TIMEOUT)."""
    frozen_after_s: Annotated[float, Field(ge=1, le=86_400)] = 30.0
    """How long a client may take nothing of what waits for it before its connection is closed."""

    @field_validator("allowed_hosts", "tasks", "tasks_off", "pass_env", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("stuck_after_s", "stuck_no_event_s", mode="before")
    @classmethod
    def _off_is_zero(cls, value: Any) -> Any:
        return 0.0 if value == "off" else value

    @field_validator("stuck_after_s")
    @classmethod
    def _longer_than_a_beat(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError("must be at least 1: a runner beats every half second; off for never")
        return value

    @field_validator("containment")
    @classmethod
    def _level_exists(cls, value: str) -> str:
        # Whether this machine has it is found out at the start, by trying.
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
    def _nothing_is_nobody_else(cls, value: str | None) -> str | None:
        # Whether there is such a user is found out at the start.
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
    def _open_door_needs_key(self) -> Settings:
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
        """The provider's key, from the server's environment."""
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
        # The file is merged in load_settings, below everything that pydantic-settings reads.
        return (init_settings, env_settings)


OTHER_VARIABLES = frozenset({"URL", "COOKIE", "JOB_ID", "REQUEST_ID", "SEED", "ROUNDS"})
"""Names behind the prefix that are not settings: of the command line, of jobs, and of this program's own tests."""


def unknown_variables(settings: Settings) -> dict[str, str | None]:
    """Variables with our prefix that mean nothing, each with the setting that it resembles most."""
    known = {ENV_PREFIX + name.upper() for name in (*Settings.model_fields, *OTHER_VARIABLES)}
    known |= {name for name in (settings.agent_key_env, *settings.pass_env) if name is not None}
    strange = sorted(
        name for name in os.environ if name.startswith(ENV_PREFIX) and name.upper() not in known and name not in known
    )
    found: dict[str, str | None] = {}
    for name in strange:
        if not name.startswith(f"{ENV_PREFIX}TEST_"):
            names = [each.upper() for each in Settings.model_fields]
            close = difflib.get_close_matches(name.removeprefix(ENV_PREFIX).upper(), names, n=1)
            found[name] = ENV_PREFIX + close[0] if close else None
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load_settings(config_file: Path | None = None, **flags: Any) -> Settings:
    """Merge the sources. `flags` that are None were not given.

    Raises StartupError naming the setting and what to do.
    """
    values = _read_file(config_file)
    given = {name: value for name, value in flags.items() if value is not None}
    in_env = {key.removeprefix(ENV_PREFIX).lower() for key in os.environ if key.startswith(ENV_PREFIX)}
    lower = {name: value for name, value in values.items() if name not in given and name not in in_env}
    try:
        return Settings(**{**lower, **given})
    except ValidationError as exc:
        raise StartupError("; ".join(_explain(error) for error in exc.errors())) from None


def _read_file(config_file: Path | None) -> dict[str, Any]:
    folder = user_config_folder()
    if config_file is None and folder is None:
        return {}
    path = config_file or Path(folder or "") / "deadstop.toml"
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        if config_file is None:
            return {}
        raise StartupError(f"cannot read {path}: no such file") from None
    except (OSError, tomllib.TOMLDecodeError) as exc:
        raise StartupError(f"cannot read {path}: {exc}") from None
    return {name.lower(): value for name, value in values.items()}


def _explain(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    if not where:
        return f"cannot start: {message}"
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(where, Settings.model_fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(Settings.model_fields)}"
        return f"cannot use {where} in deadstop.toml: there is no such setting; {hint}"
    return f"cannot use {ENV_PREFIX}{where.upper()}: {message}"
