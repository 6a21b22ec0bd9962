"""One unbroken sequence of events over connections that break."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from deadstop.client.address import Address
from deadstop.client.errors import Unreachable
from deadstop.client.follow import FAR_BEHIND, follow
from deadstop.client.transport import Request, Transport
from tests.support.fake_server import TOKEN, FakeServer
from tests.support.stage import Stage


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


OPENING = Request("POST", "/execute/stream", {"id": "a", "task": "shell", "input": {}})


async def numbers(server: FakeServer, *, skip_to: int = 0, opening: Request = OPENING) -> tuple[list[int], list[str]]:
    cuts: list[str] = []
    async with Transport(Address(server.url, "--url", TOKEN, "DEADSTOP_TOKEN")) as transport:
        events = follow(transport, "a", opening, on_cut=cuts.append, skip_to=lambda: skip_to)
        async with aclosing(events):
            return [event.id or 0 async for event in events], cuts


def test_each_event_comes_once_whatever_is_cut(server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        for _ in range(4):
            await stage.start()
            await stage.cut()
        await stage.emit("job.succeeded", result=None)

    server.script = script
    seen, cuts = asyncio.run(numbers(server))
    assert seen == list(range(1, 14))
    assert len(cuts) == 4
    assert all("broke: connection closed by the server; reconnecting" in cut for cut in cuts)


def test_what_lies_far_behind_is_skipped_when_asked(server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        for _ in range(FAR_BEHIND * 4):
            await stage.output("flood")
        await stage.emit("job.succeeded", result=None)

    server.script = script
    last = FAR_BEHIND * 4 + 1
    seen, cuts = asyncio.run(numbers(server, skip_to=last - 5))
    assert seen == [1, *range(last - 4, last + 1)]
    assert cuts == []


def test_a_little_behind_is_read(server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        for _ in range(FAR_BEHIND):
            await stage.output("flood")
        await stage.emit("job.succeeded", result=None)

    server.script = script
    seen, _ = asyncio.run(numbers(server, skip_to=FAR_BEHIND))
    assert seen == list(range(1, FAR_BEHIND + 2))


def test_a_server_that_stays_away_is_unreachable_and_says_what_to_ask_later(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deadstop.client.follow.RECONNECT_AFTER_S", (0.0, 0.0))

    async def script(stage: Stage) -> None:
        await stage.start()
        server.close_door()
        await stage.cut()

    server.script = script
    with pytest.raises(Unreachable, match=r"before the end of job a .*deadstop show a"):
        asyncio.run(numbers(server))


def test_a_silent_server_is_noticed(server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        await stage.start()
        stage.heartbeats = False
        await stage.left.wait()
        stage.heartbeats = True
        await stage.emit("job.succeeded", result=None)

    server.script = script
    quick = Request("POST", "/execute/stream", OPENING.body, silence_limit_s=2)
    seen, cuts = asyncio.run(numbers(server, opening=quick))
    assert seen == [1, 2, 3, 4]
    assert "went silent for 2 s" in cuts[0]
