"""What a runner says: frames on its channel, and what is printed."""

from __future__ import annotations

import codecs
import socket
import sys
import threading
from collections.abc import Iterable
from typing import Literal

from pydantic_core import to_json

from runner.cancellation import Cancellation
from runner.protocol import MAX_EVENT_BYTES, MAX_RESULT_BYTES, Log, Output, ProtocolError, Result, encode

READ_BYTES = 64 * 1024
MAX_TEXT_BYTES = MAX_EVENT_BYTES - 2 * 1024
"""Room for text in an event; the rest is for its other fields."""

MIN_SECRET = 8
HIDDEN = b"[secret]"
"""What stands in a frame where a secret of the job would have been, as when a provider's answer repeats the key."""

Stream = Literal["stdout", "stderr", "terminal"]


class Reporter:
    """Writes frames, one at a time from any thread. A full socket blocks the writer: that is the only brake on
    a job that prints faster than the supervisor reads, and it keeps memory bounded on both sides."""

    def __init__(self, channel: socket.socket, cancellation: Cancellation, secrets: Iterable[str] = ()) -> None:
        self._channel = channel
        self._cancellation = cancellation
        # As they look inside a JSON text. Short ones are placeholders such as "none", and would spoil the frames.
        self._secrets = [to_json(secret)[1:-1] for secret in secrets if len(secret) >= MIN_SECRET]
        self._lock = threading.Lock()

    def send(self, frame: object) -> None:
        line = encode(frame)
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        # Shielded, because a frame cut in two by JobCancelled would spoil the next one as well.
        with self._cancellation.shielded(), self._lock:
            try:
                self._channel.sendall(line)
            except (BrokenPipeError, ConnectionResetError):
                # The supervisor is gone; the guardian saw that too and ends this process in a moment.
                return

    def output(self, stream: Stream, text: str) -> None:
        for piece in split_text(text):
            self.send(Output(stream, piece))

    def result(self, value: object) -> None:
        """Send what the task returned. Raises ProtocolError when it is no JSON or over the limit."""
        line = to_json(value, inf_nan_mode="null")
        if len(line) > MAX_RESULT_BYTES:
            raise ProtocolError(
                f"result has {len(line)} bytes of JSON, the limit is {MAX_RESULT_BYTES}: write it to a file"
            )
        self.send(Result(value))

    def log(self, frame: Log) -> None:
        size = len(to_json(frame.fields, inf_nan_mode="null", fallback=str))
        if size > MAX_TEXT_BYTES // 2:
            frame = Log(frame.level, frame.message, {"dropped": f"fields of {size} bytes"})
        self.send(frame)


def split_text(text: str) -> list[str]:
    """Cut text so that each piece, as ASCII JSON, fits into one event."""
    # One character is at most 12 bytes of ASCII JSON (an escaped surrogate pair).
    if len(text) * 12 <= MAX_TEXT_BYTES or _escaped_bytes(text) <= MAX_TEXT_BYTES:
        return [text] if text else []
    middle = len(text) // 2
    return split_text(text[:middle]) + split_text(text[middle:])


def _escaped_bytes(text: str) -> int:
    plain = sum(1 for char in text if " " <= char <= "~")
    astral = sum(1 for char in text if char > "\uffff")
    return plain * 2 + astral * 12 + (len(text) - plain - astral) * 6


class Decoder:
    """UTF-8 that may be split anywhere between reads; what is no UTF-8 becomes U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes, *, final: bool = False) -> str:
        return self._decoder.decode(data, final)


def open_standard_streams() -> None:
    """Make `print` write line by line, in UTF-8, to descriptors 1 and 2, which lead to the supervisor.

    The supervisor reads them itself: what a job has printed is heard even if the job is killed, or its interpreter
    is busy in C, the next moment.
    """
    # Not in a `with`: they live as long as the process.
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115


def flush_standard_streams(reporter: Reporter) -> None:
    """Write out what `print` still holds."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError) as exc:
            # The task may have closed or replaced it; what it printed is then its own affair.
            reporter.log(Log("debug", f"cannot flush {stream!r}: {exc}"))
