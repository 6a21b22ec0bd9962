"""A model provider on loopback that speaks OpenAI's streaming protocol over real sockets, correctly or not.

Each request gets the next behaviour of the script. What the provider itself sees is recorded: requests, keys, and
connections that the client closed before the answer was complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any


class Conversation:
    """One request and its connection. `hung_up` is set when the client closes it before the answer's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.headers: dict[str, str] = {}
        self.body: dict[str, Any] = {}
        self.hung_up = asyncio.Event()
        self._reader = reader
        self._writer = writer

    async def read_request(self) -> bool:
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        lines = head.decode().split("\r\n")[1:]
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        self.body = json.loads(await self._reader.readexactly(int(self.headers["content-length"])))
        return True

    async def answer(self, status: str, content: str, *headers: str, kind: str = "application/json") -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(content)}", *headers]
        await self.send(("\r\n".join([*lines, "Connection: close", "", ""]) + content).encode())

    async def begin(self) -> None:
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close"
        await self.send(f"{head}\r\n\r\n".encode())

    async def delta(self, delta: dict[str, Any], finish: str | None = None) -> None:
        await self.frame(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])

    async def frame(self, **fields: Any) -> None:
        await self.event({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", **fields})

    async def event(self, data: object) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        await self.chunk(f"data: {text}\n\n".encode())

    async def chunk(self, data: bytes) -> None:
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def end(self, finish: str) -> None:
        await self.delta({}, finish)
        usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
        await self.frame(choices=[], usage=usage)
        await self.event("[DONE]")
        await self.send(b"0\r\n\r\n")

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def until_hung_up(self) -> None:
        """Send nothing more. The client's EOF or reset ends it."""
        with contextlib.suppress(ConnectionError):
            await self._reader.read()
        self.hung_up.set()


Behaviour = Callable[[Conversation], Awaitable[None]]


def says(*words: str) -> Behaviour:
    async def behave(conversation: Conversation) -> None:
        await conversation.begin()
        for word in words:
            await conversation.delta({"content": word})
        await conversation.end("stop")

    return behave


async def says_no_usage(conversation: Conversation) -> None:
    await conversation.begin()
    await conversation.delta({"content": "Done."}, "stop")
    await conversation.event("[DONE]")
    await conversation.send(b"0\r\n\r\n")


async def says_half_of_it(conversation: Conversation) -> None:
    """Stop at the provider's own limit, which it does not report as an error, and send a lone surrogate."""
    await conversation.begin()
    await conversation.delta({"content": "Half \ud800"})
    await conversation.end("length")


async def does_not_want_to(conversation: Conversation) -> None:
    await conversation.begin()
    await conversation.delta({"refusal": "I will not."})
    await conversation.end("content_filter")


def calls(tool: str, **arguments: object) -> Behaviour:
    """Send the arguments in two pieces, as real providers do."""

    async def behave(conversation: Conversation) -> None:
        await conversation.begin()
        text = json.dumps(arguments)
        function = {"name": tool, "arguments": text[:5]}
        await conversation.delta({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}]})
        await conversation.delta({"tool_calls": [{"index": 0, "function": {"arguments": text[5:]}}]})
        await conversation.end("tool_calls")

    return behave


def calls_at_once(*tools: tuple[str, dict[str, Any]]) -> Behaviour:
    async def behave(conversation: Conversation) -> None:
        await conversation.begin()
        for index, (tool, arguments) in enumerate(tools):
            function = {"name": tool, "arguments": json.dumps(arguments)}
            call = {"index": index, "id": f"c{index}", "type": "function", "function": function}
            await conversation.delta({"tool_calls": [call]})
        await conversation.end("tool_calls")

    return behave


async def never_answers(conversation: Conversation) -> None:
    await conversation.until_hung_up()


async def stalls_before_the_first_token(conversation: Conversation) -> None:
    await conversation.begin()
    await conversation.until_hung_up()


async def speaks_slowly(conversation: Conversation) -> None:
    """Send one word after another until the client disconnects."""
    await conversation.begin()
    gone = asyncio.ensure_future(conversation.until_hung_up())
    try:
        while not gone.done():
            await conversation.delta({"content": "word "})
            await asyncio.wait([gone], timeout=0.02)
    except ConnectionError:
        conversation.hung_up.set()
    finally:
        gone.cancel()


async def closes_half_way(conversation: Conversation) -> None:
    await conversation.begin()
    await conversation.delta({"content": "half a "})


def refuses(status: str, message: str, *headers: str) -> Behaviour:
    async def behave(conversation: Conversation) -> None:
        await conversation.answer(status, json.dumps({"error": {"message": message}}), *headers)

    return behave


async def echoes_the_key(conversation: Conversation) -> None:
    key = conversation.headers["authorization"]
    await conversation.answer("401 Unauthorized", json.dumps({"error": {"message": f"wrong key {key}"}}))


async def talks_garbage(conversation: Conversation) -> None:
    await conversation.begin()
    await conversation.event('{"choices": [{')
    await conversation.send(b"0\r\n\r\n")


async def is_a_web_page(conversation: Conversation) -> None:
    await conversation.answer("200 OK", "<title>It works!</title>", kind="text/html")


class Provider:
    """`script` has what the next requests get; the last one stays."""

    def __init__(self, *script: Behaviour) -> None:
        self.url = ""
        self.script = list(script)
        self.conversations: list[Conversation] = []
        self._news = asyncio.Condition()
        self._open: set[asyncio.Task[None]] = set()

    async def wait_for_request(self, number: int = 1, bound_s: float = 15.0) -> Conversation:
        async with asyncio.timeout(bound_s), self._news:
            await self._news.wait_for(lambda: len(self.conversations) >= number)
        return self.conversations[number - 1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        conversation = Conversation(reader, writer)
        try:
            if await conversation.read_request():
                async with self._news:
                    self.conversations.append(conversation)
                    self._news.notify_all()
                behave = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                with contextlib.suppress(ConnectionError):
                    await behave(conversation)
        finally:
            self._open.discard(task)
            writer.close()

    async def close(self) -> None:
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


@contextlib.asynccontextmanager
async def provider(*script: Behaviour) -> AsyncIterator[Provider]:
    made = Provider(*script)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, limit=1 << 20)
    host, port = server.sockets[0].getsockname()
    made.url = f"http://{host}:{port}/v1"
    try:
        yield made
    finally:
        server.close()
        await made.close()
        await server.wait_closed()
