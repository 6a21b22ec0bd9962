"""Load the settings: from flags, else `DEADSTOP_*` variables, else `deadstop.toml`, else defaults.

They are read once, and passed as arguments from there.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deadstop.folders import user_config_folder
from supervisor.errors import StartupError
from supervisor.settings import CONTAINMENT_LEVELS, ENV_PREFIX, Settings, is_loopback

__all__ = ["CONTAINMENT_LEVELS", "ENV_PREFIX", "Settings", "is_loopback", "load_settings", "unknown_variables"]

OTHER_VARIABLES = frozenset({"URL", "COOKIE", "JOB_ID", "REQUEST_ID", "SEED", "ROUNDS"})
"""Names with the prefix that are not settings: variables of the command line, of jobs and of the tests."""


def unknown_variables(settings: Settings) -> dict[str, str | None]:
    """Return the variables with our prefix that are not settings, each with the setting whose name is closest."""
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


def load_settings(config_file: Path | None = None, **flags: Any) -> Settings:
    """Merge the sources. A flag that is None was not given.

    Raise StartupError, which names the setting and what to do, if a value is wrong.
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
