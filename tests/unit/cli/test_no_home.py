"""A user without HOME and without an entry in the user database, as in many containers."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import NoReturn

import pytest

from deadstop.client.address import DEFAULT_URL, find_server
from supervisor.cli.app import main
from supervisor.config import load_settings


@pytest.fixture(autouse=True)
def _no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "DEADSTOP_STATE_DIR", "DEADSTOP_TOKEN", "DEADSTOP_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "command", [["serve", "--port", "0"], ["tasks"], ["run", "shell", "true"], ["cancel", "a"], ["top"], ["health"]]
)
def test_commands_say_in_one_line_what_to_set(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) != 0
    out, err = capsys.readouterr()
    (line,) = (out + err).splitlines()
    assert "HOME is not set and this user has no home directory: set DEADSTOP_STATE_DIR" in line


def test_a_folder_that_is_named_is_enough_for_the_server(tmp_path: Path) -> None:
    assert load_settings(state_dir=tmp_path).state_dir == tmp_path


def test_a_config_file_that_is_named_is_enough(tmp_path: Path) -> None:
    config = tmp_path / "deadstop.toml"
    config.write_text(f'state_dir = "{tmp_path}"\n', encoding="utf-8")
    assert load_settings(config).state_dir == tmp_path


def test_a_client_needs_no_folder_when_it_has_a_token(tmp_path: Path) -> None:
    assert find_server(None, {"DEADSTOP_TOKEN": "t"}).url == DEFAULT_URL
    (tmp_path / "token").write_text("secret\n", encoding="ascii")
    assert find_server(None, {"DEADSTOP_STATE_DIR": str(tmp_path)}).token == "secret"
