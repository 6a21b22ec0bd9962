"""Settings from their four sources, each stronger than the next: flags, variables, deadstop.toml, defaults."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.serve import options
from supervisor.config import Settings, load_settings, unknown_variables
from supervisor.errors import StartupError

ELSEWHERE = {
    "host": "localhost",
    "port": 0,
    "max_running": 3,
    "max_queued": 0,
    "cancel_budget_s": 0.5,
    "warm": 0,
    "stuck_after_s": 5.0,
    "stuck_no_event_s": 7.0,
    "stuck_action": "cancel",
    "containment": "subreaper",
    "engine": "local",
    "run_as": "somebody",
    "keep_jobs": 1,
    "agent_model": "openai:some",
    "vanished_after_s": 2.5,
}
"""A setting and a value that is not its default, except where there is one only."""


@pytest.fixture(autouse=True)
def _no_file_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))


def written(folder: Path, text: str) -> Path:
    file = folder / "deadstop.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(("name", "value"), ELSEWHERE.items())
def test_a_setting_is_a_flag_a_variable_and_a_line_of_the_file(
    name: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f'"{value}"' if isinstance(value, str) else value
    flag: dict[str, Any] = {name: value}
    assert getattr(load_settings(written(tmp_path, f"{name} = {line}")), name) == value
    assert getattr(load_settings(written(tmp_path, f"{name.upper()} = {line}")), name) == value
    assert getattr(load_settings(**flag), name) == value
    assert name in options().parameters
    monkeypatch.setenv(f"DEADSTOP_{name.upper()}", str(value))
    assert getattr(load_settings(), name) == value


def test_every_setting_that_is_not_secret_is_a_flag() -> None:
    # Every user on the machine, and every job, can read the command line of a server.
    assert set(Settings.model_fields) - set(options().parameters) == {"token", "tokens"}


def test_flags_win_over_variables_and_those_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, "cancel_budget_s = 0.1\nwarm = 5")  # a value that is overruled is not even checked
    monkeypatch.setenv("DEADSTOP_CANCEL_BUDGET_S", "1.5")
    found = load_settings(file)
    assert (found.cancel_budget_s, found.warm) == (1.5, 5)
    assert load_settings(file, cancel_budget_s=3.0).cancel_budget_s == 3.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cancel_budget_s", "0.49"),
        ("cancel_budget_s", "60.1"),
        ("cancel_budget_s", "nan"),
        ("port", "65536"),
        ("port", "-1"),
        ("max_running", "0"),
        ("max_queued", "-1"),
        ("warm", "-1"),
        ("warm", "two"),
        ("stuck_after_s", "never"),
        ("stuck_no_event_s", "-1"),
        ("containment", "docker"),
        ("engine", "k8s"),
        ("token", ""),
        ("token", "two words"),
    ],
)
def test_the_error_for_a_wrong_value_names_the_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"DEADSTOP_{name.upper()}", value)
    with pytest.raises(StartupError, match=f"^cannot use DEADSTOP_{name.upper()}: "):
        load_settings()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "box.example"])
def test_an_open_host_wants_a_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartupError, match="set DEADSTOP_TOKEN as well"):
        load_settings(host=host)
    monkeypatch.setenv("DEADSTOP_TOKEN", "secret")
    assert load_settings(host=host).host == host


def test_the_error_for_an_unknown_setting_names_the_closest_one(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as caught:
        load_settings(written(tmp_path, "cancel_budget = 1"))
    assert str(caught.value) == (
        "cannot use cancel_budget in deadstop.toml: there is no such setting; did you mean cancel_budget_s?"
    )
    with pytest.raises(StartupError, match=r"cannot use frob in deadstop.toml: .*; there are host, port, "):
        load_settings(written(tmp_path, "[frob]\nport = 1"))


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="no such file"):
        load_settings(tmp_path / "deadstop.toml")


def test_variables_that_mean_nothing_are_named_with_the_setting_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DEADSTOP_")]:
        monkeypatch.delenv(name)
    for name in ("WARM", "URL", "TOKEN", "COOKIE", "JOB_ID", "TEST_X", "port", "MY_KEY", "MINE"):
        monkeypatch.setenv(f"DEADSTOP_{name}", "1")
    monkeypatch.setenv("DEADSTOP_STUCK_AFTER", "2")
    monkeypatch.setenv("DEADSTOP_QQQQ", "2")
    settings = load_settings(agent_key_env="DEADSTOP_MY_KEY", pass_env="DEADSTOP_MINE")
    assert unknown_variables(settings) == {"DEADSTOP_STUCK_AFTER": "DEADSTOP_STUCK_AFTER_S", "DEADSTOP_QQQQ": None}


UNITS = {None: 1, "s": 1, "days": 86_400, "GiB": 2**30}
NUMBER = re.compile(r"([0-9][0-9,.]*)(?: (s|days|GiB))?")


def number(text: str) -> float | str:
    """A default as pages write it: `10,000`, `7 days`, `30 s`, `off`, or a word."""
    found = NUMBER.fullmatch(text)
    if found is None:
        return 0.0 if text == "off" else text
    return float(found[1].replace(",", "")) * UNITS[found[2]]


def documented_defaults() -> set[tuple[str, float | str]]:
    root = Path(__file__).parents[2]
    found: set[tuple[str, float | str]] = set()
    for page in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        for name, default in re.findall(r"`DEADSTOP_([A-Z_]+)`, ([0-9]+ s|off)", text):
            found.add((name.lower(), number(default)))
        for name, rest in re.findall(r"^\| `DEADSTOP_([A-Z_]+)` \|(.*)\|$", text, re.MULTILINE):
            cells = [cell.strip() for cell in rest.split("|")]
            found |= {(name.lower(), number(cell)) for cell in cells if NUMBER.fullmatch(cell) or cell == "demo"}
    return found


def test_the_pages_tell_the_defaults_of_the_settings() -> None:
    found = documented_defaults()
    assert {name for name, _ in found} >= {"keep_jobs", "keep_s", "keep_bytes", "stuck_after_s", "agent_max_tokens"}
    assert found == {(name, Settings.model_fields[name].default) for name, _ in found}


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts in a module that are not docstrings, with their lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_messages_name_settings_with_their_prefix() -> None:
    root = Path(__file__).parents[2]
    names = "|".join(name.upper() for name in Settings.model_fields if "_" in name)
    bare = re.compile(rf"(?<![A-Z_])(?:{names})\b")
    files = [path for package in ("supervisor", "runner", "deadstop") for path in (root / package).rglob("*.py")]
    found = {f"{path}:{line}: {text}" for path in files for line, text in messages(path) if bare.search(text)}
    assert not found
    assert bare.search("cannot use STATE_DIR")
    assert not bare.search("cannot use DEADSTOP_STATE_DIR")
