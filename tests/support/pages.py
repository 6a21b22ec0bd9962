"""Web pages on loopback, for browsers: an ordinary one, a redirect, and three that keep a browser busy or waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

HELLO = "<title>Hello</title><h1>Hello</h1><script>setTimeout(() => document.body.append(late()), 50);\
function late() { const e = document.createElement('p'); e.id = e.textContent = 'late'; return e }</script>"
BUSY = "<title>Busy</title><script>fetch('/beacon').then(() => { for (;;); })</script>"

ANSWERS = {
    "/hello": ("200 OK", "", HELLO),
    "/moved": ("302 Found", "Location: /hello\r\n", ""),
    "/missing": ("404 Not Found", "", "<title>No such page</title>"),
    "/busy": ("200 OK", "", BUSY),
    "/beacon": ("204 No Content", "", ""),
}


class Pages:
    """`asked` lists the path of each request, including `/never`, which gets no response."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""
        self._news = asyncio.Condition()
        self._open: set[asyncio.Task[None]] = set()

    async def wait_asked(self, path: str, bound_s: float = 15.0) -> None:
        async with asyncio.timeout(bound_s), self._news:
            await self._news.wait_for(lambda: path in self.asked)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                head = await reader.readuntil(b"\r\n\r\n")
                await self._answer(head.split(b" ")[1].decode(), reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._news:
            self.asked.append(path)
            self._news.notify_all()
        if path == "/never":
            await reader.read()  # until the browser disconnects
            return
        status, headers, body = ANSWERS.get(path, ANSWERS["/missing"])
        head = f"HTTP/1.1 {status}\r\n{headers}Content-Type: text/html\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n{body}".encode())
        await writer.drain()

    async def close(self) -> None:
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


@contextlib.asynccontextmanager
async def pages() -> AsyncIterator[Pages]:
    made = Pages()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    made.url = f"http://{host}:{port}"
    try:
        yield made
    finally:
        server.close()
        await made.close()
        await server.wait_closed()
