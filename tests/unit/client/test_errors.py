"""The type, the field and the remedy of an error, and the exit code that a command makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from deadstop.client.address import Address
from deadstop.client.client import JsonClient
from deadstop.client.errors import ClientError, JobForgotten, NotConfigured, Rejected, StreamCut, from_response
from deadstop.client.events import Event
from deadstop.client.submission import Submission
from supervisor.cli.exits import ExitCode, for_error
from tests.support.fake_server import TOKEN, FakeServer, problem
from tests.support.stage import Stage

HERE = Address("http://127.0.0.1:1", "--url", "secret", "DEADSTOP_TOKEN")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


def rejected(status: int, type_: str, headers: dict[str, str] | None = None, **problem: Any) -> ClientError:
    body = {"type": f"https://deadstop.invalid/{type_}", "title": "no", **problem}
    return from_response(httpx.Response(status, json=body, headers=headers), HERE)


@pytest.mark.parametrize(
    ("error", "type_", "field", "remedy", "code"),
    [
        (rejected(404, "not-found"), "not-found", None, None, ExitCode.USAGE),
        (rejected(409, "conflict"), "conflict", None, None, ExitCode.USAGE),
        (
            rejected(422, "invalid", errors=[{"field": "input.a", "message": "must be integer"}]),
            "invalid",
            "input.a",
            None,
            ExitCode.USAGE,
        ),
        (rejected(422, "invalid", errors=[{"field": "", "message": "x"}]), "invalid", None, None, ExitCode.USAGE),
        (rejected(401, "unauthorized"), "unauthorized", None, None, ExitCode.UNREACHABLE),
        (
            rejected(429, "queue-full", {"Retry-After": "7"}),
            "queue-full",
            None,
            "try again in 7 s",
            ExitCode.UNREACHABLE,
        ),
        (rejected(507, "storage-full"), "storage-full", None, None, ExitCode.UNREACHABLE),
        (rejected(500, "internal"), "internal", None, None, ExitCode.UNREACHABLE),
        (from_response(httpx.Response(502), HERE), "not-deadstop", None, None, ExitCode.UNREACHABLE),
        (StreamCut("x"), "stream-cut", None, None, ExitCode.UNREACHABLE),
        (JobForgotten("x"), "job-forgotten", None, None, ExitCode.UNPROVEN),
        (NotConfigured("x", "no-token", field="token"), "no-token", "token", None, ExitCode.USAGE),
        (NotConfigured("x", "invalid-token", field="token"), "invalid-token", "token", None, ExitCode.UNREACHABLE),
    ],
)
def test_errors_have_type_field_remedy_and_an_exit_code(
    error: ClientError, type_: str, field: str | None, remedy: str | None, code: ExitCode
) -> None:
    assert (error.type, error.field, error.remedy) == (type_, field, remedy)
    assert for_error(error) is code
    assert str(error) == (f"{error.message}; {remedy}" if remedy else error.message)


def test_a_server_that_is_not_there_comes_with_the_line_that_starts_one() -> None:
    async def ask() -> None:
        async with JsonClient(HERE) as client:
            await client.health()

    with pytest.raises(ClientError) as caught:
        asyncio.run(ask())
    assert caught.value.type == "unreachable"
    assert str(caught.value.remedy).startswith("start it with: ")


def test_a_token_that_no_header_can_carry() -> None:
    with pytest.raises(NotConfigured, match="cannot send the token from DEADSTOP_TOKEN") as caught:
        JsonClient(Address("http://127.0.0.1:1", "--url", "ü", "DEADSTOP_TOKEN"))
    assert (caught.value.type, caught.value.field) == ("invalid-token", "token")


async def streamed(server: FakeServer) -> list[Event]:
    async with JsonClient(Address(server.url, "--url", TOKEN, "DEADSTOP_TOKEN")) as client:
        return [event async for event in client.stream(Submission("shell", {}, "a"), on_cut=lambda _line: None)]


def test_a_job_that_is_forgotten_while_it_is_followed(server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        await stage.start()
        server.forgetful = True
        await stage.cut()

    server.script = script
    with pytest.raises(JobForgotten, match="lost job a: the server"):
        asyncio.run(streamed(server))


def test_a_submission_that_is_rejected(server: FakeServer) -> None:
    server.refusals = [problem(429, "queue-full", "1000 jobs wait")]
    with pytest.raises(Rejected, match="the server takes no jobs now: 1000 jobs wait") as caught:
        asyncio.run(streamed(server))
    assert (caught.value.status, caught.value.type) == (429, "queue-full")


def test_a_stream_that_lost_its_terminal_event_still_ends_with_one(server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        await stage.start()
        stage.fields["error"] = {"kind": "exited", "message": "exit code 3"}
        stage.state, stage.over = "failed", True

    server.script = script
    *_, running, end = asyncio.run(streamed(server))
    assert running.type == "job.running"
    assert (end.type, end.id, end.terminal) == ("job.failed", None, True)
    assert end.data["error"] == {"kind": "exited", "message": "exit code 3"}
