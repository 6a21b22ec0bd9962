"""An HTTP client on a socket of its own: it can close with FIN, reset the connection, or just stop reading."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import h11

DEFAULT_BOUND_S = 10.0


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event as it was received. `id` is None for events that are not numbered."""

    id: int | None
    type: str
    data: dict[str, Any]


class StreamEnded(Exception):
    """Raised when the server closes the stream before the event that the test waits for."""


class EventStream:
    """One request whose response is a stream of events. `status` is the HTTP status of the response."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        method: str = "POST",
        path: str = "/execute/stream",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        bound_s: float = DEFAULT_BOUND_S,
    ) -> None:
        address = urlsplit(url)
        self._buffer = b""
        self.events: list[SseEvent] = []
        self.comments = 0
        self._http = h11.Connection(h11.CLIENT)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=bound_s)
        try:
            self._send(method, path, address.netloc, token, body, headers or {})
            self.status, self.headers = self._read_head(time.monotonic() + bound_s)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.socket.close()

    def _send(self, method: str, path: str, host: str, token: str, body: Any, headers: Mapping[str, str]) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        lines = {"host": host, "authorization": f"Bearer {token}", "accept": "text/event-stream", **headers}
        if body is not None:
            lines |= {"content-type": "application/json", "content-length": str(len(content))}
        request = h11.Request(method=method, target=path, headers=list(lines.items()))
        data = self._http.send(request) or b""
        data += self._http.send(h11.Data(data=content)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        self.socket.sendall(data)

    def _receive(self, deadline: float) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("nothing came within the bound")
            self.socket.settimeout(left_s)
            self._http.receive_data(self.socket.recv(1 << 16))
        return event

    def _read_head(self, deadline: float) -> tuple[int, dict[str, str]]:
        event = self._receive(deadline)
        while isinstance(event, h11.InformationalResponse):
            event = self._receive(deadline)
        assert isinstance(event, h11.Response), event
        return event.status_code, {name.decode(): value.decode() for name, value in event.headers}

    def body(self, bound_s: float = DEFAULT_BOUND_S) -> bytes:
        """Return the whole body of a response that is not a stream."""
        deadline = time.monotonic() + bound_s
        parts = []
        while isinstance(event := self._receive(deadline), h11.Data):
            parts.append(bytes(event.data))
        return b"".join(parts)

    def next_event(self, deadline: float) -> SseEvent:
        """Return the next event. Raise StreamEnded, or TimeoutError at `deadline` (monotonic seconds)."""
        while True:
            while b"\n\n" in self._buffer:
                block, self._buffer = self._buffer.split(b"\n\n", 1)
                event = self._parse(block.decode())
                if event is not None:
                    self.events.append(event)
                    return event
            received = self._receive(deadline)
            if not isinstance(received, h11.Data):
                raise StreamEnded(f"the stream ended after {[event.type for event in self.events]}")
            self._buffer += bytes(received.data).replace(b"\r\n", b"\n")

    def _parse(self, block: str) -> SseEvent | None:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
        if "data" not in fields:
            return None
        number = fields.get("id")
        return SseEvent(
            None if number is None else int(number), fields.get("event", "message"), json.loads(fields["data"])
        )

    def until(self, condition: Callable[[SseEvent], bool], bound_s: float = DEFAULT_BOUND_S) -> SseEvent:
        """Read up to the first event for which `condition` holds."""
        deadline = time.monotonic() + bound_s
        while not condition(event := self.next_event(deadline)):
            pass
        return event

    def until_type(self, type_: str, bound_s: float = DEFAULT_BOUND_S) -> SseEvent:
        return self.until(lambda event: event.type == type_, bound_s)

    def until_output(self, text: str, bound_s: float = DEFAULT_BOUND_S) -> None:
        """Read until the job has written `text`. Raise AssertionError with its events if it ends without writing it."""
        deadline = time.monotonic() + bound_s
        try:
            while text not in self.output:
                self.next_event(deadline)
        except (StreamEnded, TimeoutError) as exc:
            story = [(event.type, event.data.get("error")) for event in self.events]
            raise AssertionError(f"no {text!r} ({exc}); output {self.output!r}; events {story}") from None

    @property
    def output(self) -> str:
        return "".join(event.data["text"] for event in self.events if event.type == "job.output")

    def rest(self, bound_s: float = DEFAULT_BOUND_S) -> Iterator[SseEvent]:
        """Return all events up to the end of the stream."""
        deadline = time.monotonic() + bound_s
        while True:
            try:
                yield self.next_event(deadline)
            except StreamEnded:
                return

    def hang_up(self) -> float:
        """Close with FIN, as a client does that was ended. Return the time in monotonic seconds."""
        # Unread data would turn the FIN into an RST.
        self.socket.setblocking(False)
        try:
            while self.socket.recv(1 << 16):
                pass
        except BlockingIOError:
            pass
        when = time.monotonic()
        self.socket.close()
        return when

    def reset(self) -> float:
        """Close with RST. Return the time in monotonic seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        when = time.monotonic()
        self.socket.close()
        return when
