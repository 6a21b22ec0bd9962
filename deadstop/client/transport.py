"""Sends requests to one server over HTTP, and reads its answers and streams."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import httpx

from deadstop.client.address import Address, start_line
from deadstop.client.errors import NotConfigured, StreamCut, Unreachable, from_response, not_deadstop
from deadstop.client.events import Event, EventDecoder

Json = Any

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0
SILENCE_LIMIT_S = 50
"""A stream without a single byte for this long counts as dead: three heartbeats of an idle stream."""
ATTACHED_SILENCE_LIMIT_S = 15
"""The same for a stream that its job depends on. The server's heartbeat is much quicker there, but leaving such a
stream by mistake would cancel the job, so a busy machine is given some time."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    body: Json = None
    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    silence_limit_s: int = SILENCE_LIMIT_S
    """For streams: without a byte for this long, not even a heartbeat, the server counts as dead."""


class Transport:
    """The connections to one server. Methods raise Unreachable if nothing answers, Rejected if the answer is an error.

    Use as an asynchronous context manager.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        # A proxy from the environment cannot reach this machine's loopback.
        self._http = httpx.AsyncClient(
            base_url=address.url,
            headers=_headers(address),
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
        """Return the JSON answer. `wait_s` is how long the request asks the server to wait, in seconds."""
        async with self._sent(request, ANSWER_TIMEOUT_S + wait_s) as response:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await response.aread()
                return response.json()
            except (httpx.HTTPError, TimeoutError) as exc:
                raise self._unreachable(exc) from None
            except ValueError:
                raise not_deadstop(self.address, f"it sent {_content_type(response)}") from None

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[AsyncGenerator[Event]]:
        """Yield the events of a stream as they come. They end with StreamCut unless the caller stops first.

        204, the answer for a finished job with nothing left to send, is a stream without events.
        """
        async with self._sent(request, ANSWER_TIMEOUT_S) as response:
            if response.status_code != 204 and not _content_type(response).startswith("text/event-stream"):
                raise not_deadstop(self.address, f"it sent {_content_type(response)}")
            async with aclosing(self._events(response, request.silence_limit_s)) as events:
                yield events

    @asynccontextmanager
    async def _sent(self, request: Request, timeout_s: float) -> AsyncIterator[httpx.Response]:
        """Yield the response once its headers are there and no error, and close it at the end."""
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
                raise from_response(response, self.address)
            yield response

    async def _events(self, response: httpx.Response, silence_limit_s: int) -> AsyncGenerator[Event]:
        if response.status_code == 204:
            return
        decoder = EventDecoder()
        try:
            async with aclosing(_until_silent(response, silence_limit_s)) as texts:
                async for text in texts:
                    for event in decoder.feed(text):
                        yield event
        except (httpx.HTTPError, ValueError) as exc:
            raise StreamCut(f"the stream from {self.address.url} broke: {_reason(exc)}") from None
        raise StreamCut(f"the stream from {self.address.url} ended early")

    def _unreachable(self, exc: BaseException) -> Unreachable:
        message, remedy = f"cannot reach the server at {self.address.url}: {_reason(exc)}", None
        if self.address.loopback and _reason(exc) == os.strerror(errno.ECONNREFUSED).lower():
            remedy = f"start it with: {start_line()}"
        elif self.address.url_source not in {"default", "server.json"}:
            message = f"{message} (address from {self.address.url_source})"
        return Unreachable(message, remedy=remedy)


def _headers(address: Address) -> dict[str, str]:
    headers = {"User-Agent": "deadstop"}
    if address.token is not None:
        if not address.token.isascii() or not address.token.isprintable():
            message = f"cannot send the token from {address.token_source}: it is not printable ASCII"
            raise NotConfigured(message, "invalid-token", field="token")
        headers["Authorization"] = f"Bearer {address.token}"
    return headers


async def _until_silent(response: httpx.Response, silence_limit_s: int) -> AsyncGenerator[str]:
    """Yield the response's text as it comes. Raise StreamCut if no byte comes for `silence_limit_s`.

    The seconds are counted one by one and not read from a clock: after Ctrl-Z and `fg` the clock has jumped, although
    the server was not silent.
    """
    silent_s = 0
    texts = cast("AsyncGenerator[str]", response.aiter_text())
    following: asyncio.Future[str] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(texts))
            await asyncio.wait({following}, timeout=1.0)
            if following.done():
                try:
                    text = following.result()
                except StopAsyncIteration:
                    return
                following, silent_s = None, 0
                yield text
                continue
            silent_s += 1
            if silent_s >= silence_limit_s:
                raise StreamCut(f"the server at {response.url.host} went silent for {silent_s} s")
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await texts.aclose()


def _content_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "no content type"))


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
    """Return what the operating system says, such as `connection refused`. httpx hides it a few causes deep."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ConnectionError) and cause.errno is not None:
            return os.strerror(cause.errno).lower()
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror[0].lower() + cause.strerror[1:]
        cause = cause.__cause__ or cause.__context__
    return None
