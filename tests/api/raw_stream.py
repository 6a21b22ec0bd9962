"""A response read byte by byte from a socket, and the closing, resetting and stalling of it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from dataclasses import dataclass, field
from typing import Any

PATIENCE_S = 20.0
"""How long a test waits for expected data. Only a failing test waits that long."""


def connect(address: tuple[str, int], *, receive_buffer: int | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE_S)
    try:
        sock.connect(address)
    except OSError:
        sock.close()  # the server was killed
        raise
    return sock


def send_without_end(sock: socket.socket, data: bytes) -> None:
    """Send far more than the server may buffer, until the socket raises an exception."""
    for _ in range(200_000):
        sock.sendall(data)


@dataclass
class RawStream:
    """A response read byte by byte. `text` is its body so far, without the chunked framing."""

    sock: socket.socket
    head: str = ""
    text: str = ""
    ended: bool = False
    """Whether the last chunk has arrived."""
    _raw: bytes = field(default=b"")

    @property
    def status(self) -> int:
        self._until(lambda: bool(self.head))
        return int(self.head.split()[1])

    def until(self, text: str) -> str:
        """Read until the body contains `text`, and return the body so far."""
        self._until(lambda: text in self.text)
        return self.text

    def watch(self, text: str, seconds: float) -> bool:
        """Read for the given time. Return whether `text` arrived."""
        self.sock.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            self.until(text)
        self.sock.settimeout(PATIENCE_S)
        return text in self.text

    def read_to_end(self) -> str:
        self._until(lambda: self.ended)
        return self.text

    def frames(self) -> list[dict[str, str]]:
        """The complete frames so far, as fields; comments are left out."""
        frames = []
        for block in self.text.split("\n\n")[:-1]:
            lines = [line.partition(": ") for line in block.split("\n") if not line.startswith(":")]
            frames.append({name: value for name, _, value in lines})
        return frames

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(frame["data"]) for frame in self.frames()]

    def reset(self) -> None:
        """Close with an RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()

    def _until(self, condition: Any) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"did not come: {self.head!r} {self.text[-2000:]!r}"
            assert not self.ended, f"ended without it: {self.text[-2000:]!r}"
            data = self.sock.recv(65536)
            assert data, f"connection closed: {self.head!r} {self.text[-2000:]!r}"
            self._raw += data
            self._parse()

    def _parse(self) -> None:
        if not self.head:
            head, empty, rest = self._raw.partition(b"\r\n\r\n")
            if not empty:
                return
            self.head, self._raw = head.decode(), rest
        pieces = []
        while not self.ended:
            size, newline, rest = self._raw.partition(b"\r\n")
            if not newline or len(rest) < int(size, 16) + 2:
                break
            length = int(size, 16)
            pieces.append(rest[:length].decode())
            self._raw = rest[length + 2 :]
            self.ended = length == 0
        self.text += "".join(pieces)  # once: this text grows to megabytes
