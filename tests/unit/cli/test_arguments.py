"""From what the user typed to a request: input, labels, server address and token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deadstop.client.address import DEFAULT_URL, find_server, is_loopback
from supervisor.cli.arguments import build_input, find_task, read_input, read_labels, signature
from supervisor.cli.exits import CommandError
from tests.support.fake_server import ADD, LABELLED, SHELL

TASKS = [SHELL, ADD, LABELLED]


def test_text_goes_to_the_command_and_the_directory_along() -> None:
    assert build_input(SHELL, "make", {}, cwd="/home/me") == {"command": "make", "cwd": "/home/me"}


def test_the_users_own_cwd_wins() -> None:
    assert build_input(SHELL, "make", {"cwd": "/tmp"}, cwd="/home/me")["cwd"] == "/tmp"


def test_text_goes_to_the_first_text_field_else() -> None:
    assert build_input(LABELLED, "photos", {"width": 5}, cwd="/x") == {"width": 5, "folder": "photos"}


def test_text_for_a_task_without_text_says_what_it_takes() -> None:
    with pytest.raises(CommandError, match="task add takes no text; its input is: a: integer, b: integer"):
        build_input(ADD, "1", {}, cwd=None)


def test_text_and_input_for_the_same_field_is_refused() -> None:
    with pytest.raises(CommandError, match="command is given twice"):
        build_input(SHELL, "ls", {"command": "pwd"}, cwd=None)


def test_an_unknown_task_names_the_closest_else_all() -> None:
    with pytest.raises(CommandError, match=r"unknown task 'shel': did you mean shell\?"):
        find_task(TASKS, "shel")
    with pytest.raises(CommandError, match="known are add, shell, thumbnails"):
        find_task(TASKS, "qqqqqq")


def test_signature_tells_required_default_and_optional() -> None:
    assert signature(LABELLED) == "width: integer = 320, folder: string"
    assert signature(SHELL) == "command: string?, terminal: boolean = true, cwd: string?"


def test_input_comes_as_json_or_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "input.json"
    path.write_text('{"a": 1}')
    assert read_input('{"a": 1}') == read_input(f"@{path}") == {"a": 1}
    assert read_input(None) == {}


@pytest.mark.parametrize(
    ("argument", "message"),
    [("{", "not JSON"), ("[1]", "must be a JSON object"), ("@/no/such", "cannot read /no/such: No such file")],
)
def test_wrong_input_is_told_in_one_line(argument: str, message: str) -> None:
    with pytest.raises(CommandError, match=message) as caught:
        read_input(argument)
    assert "\n" not in str(caught.value)


def test_labels() -> None:
    assert read_labels(["team=a", "note=x=y", "empty="]) == {"team": "a", "note": "x=y", "empty": ""}
    with pytest.raises(CommandError, match="KEY=VALUE"):
        read_labels(["team"])


def noted(tmp_path: Path, url: str = "http://127.0.0.1:4711") -> dict[str, str]:
    (tmp_path / "server.json").write_text(json.dumps({"pid": 1, "url": url}))
    (tmp_path / "token").write_text("secret\n")
    return {"DEADSTOP_STATE_DIR": str(tmp_path)}


def test_the_running_servers_note_gives_the_address(tmp_path: Path) -> None:
    address = find_server(None, noted(tmp_path))
    assert (address.url, address.token) == ("http://127.0.0.1:4711", "secret")
    assert address.token_source == str(tmp_path / "token")
    assert address.loopback


def test_url_flag_then_variable_then_note_then_default(tmp_path: Path) -> None:
    environ = noted(tmp_path)
    assert find_server("http://a:1", environ | {"DEADSTOP_URL": "http://b:2"}).url == "http://a:1"
    assert find_server(None, environ | {"DEADSTOP_URL": "http://b:2/"}).url == "http://b:2"
    empty = {"DEADSTOP_STATE_DIR": str(tmp_path / "none")}
    assert find_server(None, empty).url == DEFAULT_URL
    assert find_server(None, empty | {"DEADSTOP_PORT": "9000"}).url == "http://127.0.0.1:9000"


def test_the_token_variable_wins_over_the_file(tmp_path: Path) -> None:
    assert find_server(None, noted(tmp_path) | {"DEADSTOP_TOKEN": "other"}).token == "other"


def test_this_machines_token_is_not_sent_elsewhere(tmp_path: Path) -> None:
    address = find_server("http://example.com:8700", noted(tmp_path))
    assert address.token is None
    assert "DEADSTOP_TOKEN" in address.token_source
    # Unless our own server says that it listens there.
    mine = find_server("http://10.0.0.7:8700", noted(tmp_path, "http://10.0.0.7:8700"))
    assert mine.token == "secret"
    assert not mine.loopback


@pytest.mark.parametrize("url", ["127.0.0.1:8700", "ftp://x", "http://", "http://x:0", "http://x:99999", "http://["])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(CommandError, match="write it as http://HOST:PORT"):
        find_server(url, {})


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("x", False)],
)
def test_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local
