"""Requests that the server or the command line rejects: one line that says what to do, and the exit code."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.commands import Cli
from tests.support.fake_server import FakeServer, problem


def one_line(text: str) -> bool:
    return text.startswith("deadstop: ") and text.count("\n") == 1


def test_unknown_task(cli: Cli) -> None:
    outcome = cli("run", "shel", "x")
    assert outcome.code == 2
    assert outcome.err == "deadstop: unknown task 'shel': did you mean shell?\n"


def test_each_wrong_field_is_named(cli: Cli, server: FakeServer) -> None:
    errors = [{"field": "input.a", "message": "must be integer"}, {"field": "input.c", "message": "unknown field"}]
    server.refusals = [problem(422, "invalid", "two errors", errors=errors)]
    outcome = cli("run", "add", "--input", '{"a": "1", "c": 2}')
    assert outcome.code == 2
    assert outcome.err == "deadstop: input.a: must be integer; input.c: unknown field\n"


def test_full_queue(cli: Cli, server: FakeServer) -> None:
    server.refusals = [problem(429, "queue-full", "1000 jobs wait", headers={"Retry-After": "7"})]
    outcome = cli("run", "shell", "x")
    assert outcome.code == 4
    assert outcome.err == "deadstop: the server takes no jobs now: 1000 jobs wait; try again in 7 s\n"


def test_wrong_token_names_where_it_came_from(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FakeServer
) -> None:
    monkeypatch.setenv("DEADSTOP_TOKEN", "wrong")
    outcome = cli("ps")
    assert outcome.code == 4
    assert outcome.err == f"deadstop: the server at {server.url} refused the token from DEADSTOP_TOKEN\n"
    monkeypatch.delenv("DEADSTOP_TOKEN")
    (tmp_path / "token").write_text("old")
    assert str(tmp_path / "token") in cli("ps").err
    (tmp_path / "token").unlink()
    assert "there is none in DEADSTOP_TOKEN or" in cli("ps").err


def test_no_server_names_the_line_that_starts_one(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    outcome = cli("ps", "--url", f"http://127.0.0.1:{port}")
    assert outcome.code == 4
    assert one_line(outcome.err)
    assert "connection refused; start it with: " in outcome.err


def test_something_else_at_the_address(cli: Cli, server: FakeServer) -> None:
    server.refusals = [problem(200, "x", "y")]
    server.health = {}
    assert "is not Deadstop (status 404" in cli("--url", f"{server.url}/elsewhere", "ps").err


@pytest.mark.parametrize(
    "argv",
    [
        ["run"],
        ["nonsense"],
        ["run", "shell", "ls", "-la"],
        ["run", "shell", "ls", "extra"],
        ["run", "shell", "--input", "{"],
        ["run", "shell", "ls", "--timeout", "0"],
        ["run", "shell", "ls", "--timeout", "soon"],
        ["run", "shell", "ls", "--label", "x"],
        ["cancel"],
        ["ps", "--url", "nonsense"],
    ],
)
def test_wrong_usage_is_one_line_and_two(cli: Cli, argv: list[str], server: FakeServer) -> None:
    outcome = cli(*argv)
    assert outcome.code == 2
    assert one_line(outcome.err), outcome.err
    assert not server.jobs
