"""The user's arguments become the input and the labels of a request."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.cli.arguments import build_input, find_task, read_input, read_labels, read_timeout, signature
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


def test_text_and_input_for_the_same_field_are_rejected() -> None:
    with pytest.raises(CommandError, match="command is given twice"):
        build_input(SHELL, "ls", {"command": "pwd"}, cwd=None)


def test_an_unknown_task_names_the_closest_else_all() -> None:
    with pytest.raises(CommandError, match=r"unknown task 'shel': did you mean shell\?"):
        find_task(TASKS, "shel")
    with pytest.raises(CommandError, match="the server has add, shell, thumbnails"):
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
def test_wrong_input_is_an_error_of_one_line(argument: str, message: str) -> None:
    with pytest.raises(CommandError, match=message) as caught:
        read_input(argument)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_timeout_is_more_than_nothing(seconds: float) -> None:
    assert (read_timeout(None), read_timeout(0.5)) == (None, 0.5)
    with pytest.raises(CommandError, match=f"invalid --timeout {seconds:g}: use more than 0 seconds"):
        read_timeout(seconds)


def test_labels() -> None:
    assert read_labels(["team=a", "note=x=y", "empty="]) == {"team": "a", "note": "x=y", "empty": ""}
    with pytest.raises(CommandError, match="KEY=VALUE"):
        read_labels(["team"])
