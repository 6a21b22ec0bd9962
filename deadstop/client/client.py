"""Talks to the server: requests, streams, and what the server's refusals mean to a person."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from deadstop.client.address import Address, start_line
from deadstop.client.errors import explain
from deadstop.client.events import Event, parse_event
from supervisor.cli.exits import StreamCut, Unreachable

Json = Any

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0
SILENCE_LIMIT_S = 50
"""A stream without a single byte for so long is dead: three heartbeats of an idle stream."""
HOLDING_SILENCE_LIMIT_S = 15
"""The same for a stream that holds its job. The server's heartbeat there is much quicker, but leaving such a stream
by mistake would cancel the job, so a busy machine gets its time."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    body: Json = None
    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    silence_limit_s: int = SILENCE_LIMIT_S
    """For streams: without a byte for so long, not even a heartbeat, the server counts as dead."""


class Client:
    """One server. Methods raise Unreachable when nobody answers, Refused when the answer is an error."""

    def __init__(self, address: Address) -> None:
        self.address = address
        headers = {"User-Agent": "deadstop"}
        if address.token is not None:
            if not address.token.isascii() or not address.token.isprintable():
                raise Unreachable(f"cannot send the token from {address.token_source}: it is not printable ASCII")
            headers["Authorization"] = f"Bearer {address.token}"
        # A proxy from the environment cannot reach this machine's loopback.
        self._http = httpx.AsyncClient(
            base_url=address.url,
            headers=headers,
            trust_env=not address.loopback,
            verify=address.url.startswith("https:"),
            timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=None),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def ask(self, request: Request, *, wait_s: float = 0.0) -> Json:
        """The JSON answer. `wait_s` is how long the server was asked to take on purpose, in seconds."""
        async with self._sent(request, ANSWER_TIMEOUT_S + wait_s) as response:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await response.aread()
                return response.json()
            except (httpx.HTTPError, TimeoutError) as exc:
                raise self._unreachable(exc) from None
            except ValueError:
                raise self._not_deadstop(response) from None

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[AsyncGenerator[Event]]:
        """The events of a stream as they come. They end with StreamCut unless the caller stops first.

        204, the answer for a finished job with nothing left to send, is a stream without events.
        """
        async with self._sent(request, ANSWER_TIMEOUT_S) as response:
            events = self._events(response, request.silence_limit_s)
            try:
                yield events
            finally:
                await events.aclose()

    @asynccontextmanager
    async def _sent(self, request: Request, timeout_s: float) -> AsyncIterator[httpx.Response]:
        """The response once its headers are there, checked for refusals, closed at the end."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(timeout_s):
                    # Streams may be quiet for as long as their heartbeat allows, so httpx bounds no read.
                    response = await stack.enter_async_context(
                        self._http.stream(
                            request.method,
                            request.path,
                            json=request.body,
                            headers=dict(request.headers),
                            params=dict(request.params),
                            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S, write=ANSWER_TIMEOUT_S),
                        )
                    )
                    if response.status_code >= 300:
                        await response.aread()
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ssl.SSLError) as exc:
                raise self._unreachable(exc) from None
            if response.status_code >= 300:
                raise explain(response, self.address)
            yield response

    async def _events(self, response: httpx.Response, silence_limit_s: int) -> AsyncGenerator[Event]:
        if response.status_code == 204:
            return
        source = EventSource(response).aiter_sse()
        try:
            async for raw in _bounded(source, response, silence_limit_s):
                event = parse_event(raw.event, raw.data, raw.id)
                if event is not None:
                    yield event
        except (httpx.HTTPError, SSEError, ValueError) as exc:
            raise StreamCut(f"the stream from {self.address.url} broke: {_reason(exc)}") from None
        finally:
            await source.aclose()
        raise StreamCut(f"the stream from {self.address.url} ended early")

    def _unreachable(self, exc: BaseException) -> Unreachable:
        line = f"cannot reach the server at {self.address.url}: {_reason(exc)}"
        if self.address.loopback and _reason(exc) == os.strerror(errno.ECONNREFUSED).lower():
            return Unreachable(f"{line}; start it with: {start_line()}")
        if self.address.url_source not in {"default", "server.json"}:
            line = f"{line} (address from {self.address.url_source})"
        return Unreachable(line)

    def _not_deadstop(self, response: httpx.Response) -> Unreachable:
        kind = response.headers.get("content-type", "no content type")
        return Unreachable(f"what answers at {self.address.url} is not Deadstop (it sent {kind})")


async def _bounded(
    source: AsyncGenerator[ServerSentEvent], response: httpx.Response, silence_limit_s: int
) -> AsyncGenerator[ServerSentEvent]:
    """Pass events on, and raise StreamCut when not even a heartbeat came for `silence_limit_s`.

    Seconds are counted one by one and not read from a clock: after a Ctrl-Z and `fg` the clock has jumped, while
    the server was not silent at all.
    """
    silent_s = 0
    received = -1
    following: asyncio.Future[ServerSentEvent] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(source))
            await asyncio.wait({following}, timeout=1.0)
            if following.done():
                try:
                    event = following.result()
                except StopAsyncIteration:
                    return
                following = None
                silent_s = 0
                yield event
                continue
            silent_s = silent_s + 1 if response.num_bytes_downloaded == received else 0
            received = response.num_bytes_downloaded
            if silent_s >= silence_limit_s:
                raise StreamCut(f"the server at {response.url.host} went silent for {silent_s} s")
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def _reason(exc: BaseException) -> str:
    if isinstance(exc, httpx.ConnectTimeout):
        return f"no connection within {CONNECT_TIMEOUT_S:g} s"
    if isinstance(exc, (TimeoutError, httpx.TimeoutException)):
        return f"no answer within {ANSWER_TIMEOUT_S:g} s"
    if isinstance(exc, httpx.ConnectError):
        return _system_error(exc) or str(exc)
    if isinstance(exc, httpx.RemoteProtocolError):
        return "connection closed by the server"
    if isinstance(exc, httpx.NetworkError):
        return "connection lost"
    return str(exc) or type(exc).__name__


def _system_error(exc: BaseException) -> str | None:
    """The operating system's word for it, which httpx hides a few causes deep: `connection refused`."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ConnectionError) and cause.errno is not None:
            return os.strerror(cause.errno).lower()
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror[0].lower() + cause.strerror[1:]
        cause = cause.__cause__ or cause.__context__
    return None
