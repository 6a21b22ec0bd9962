"""The output of a runner: messages on its channel, and printed text."""

from __future__ import annotations

import codecs
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic_core import to_json

from runner.cancellation import Cancellation
from runner.codec import ProtocolError, encode, read_frame
from runner.posix import flush_c_stdout
from runner.protocol import MAX_EVENT_BYTES, MAX_RESULT_BYTES, Failure, Log, Output, Result
from runner.text import cut_text, shown

READ_BYTES = 64 * 1024
MAX_TEXT_BYTES = MAX_EVENT_BYTES - 2 * 1024
"""The room for text in an event; the rest is for its other fields."""

MIN_SECRET = 8
HIDDEN = b"[secret]"
"""The replacement for a secret of the job in a message, as when a provider's answer repeats the key."""


Stream = Literal["stdout", "stderr", "terminal"]


class Reporter:
    """Writes messages, one at a time, from any thread.

    A full socket blocks the writer. That is the only brake on a job that prints faster than the supervisor reads, and
    it limits the memory on both sides.
    """

    def __init__(self, channel: socket.socket, cancellation: Cancellation, secrets: Iterable[str] = ()) -> None:
        self._channel = channel
        self._cancellation = cancellation
        # Secrets in the form that they have in JSON. Short ones are placeholders such as "none", and replacing them
        # would spoil messages.
        self._secrets = [to_json(secret)[1:-1] for secret in secrets if len(secret) >= MIN_SECRET]
        self._lock = threading.Lock()

    def send(self, frame: object) -> None:
        line = encode(frame)
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        # Shielded, because a message that JobCancelled cuts in two would spoil the next one as well.
        with self._cancellation.shielded(), self._lock:
            try:
                self._channel.sendall(line)
            except (BrokenPipeError, ConnectionResetError):
                # The supervisor has ended. The guardian notices that too and ends this process in a moment.
                return

    def output(self, stream: Stream, text: str) -> None:
        for piece in split_text(shown(text)):
            self.send(Output(stream, piece))

    def end(self, frame: Result | Failure) -> None:
        """Send the outcome of the task. Raise ProtocolError or ValueError if it is not JSON, or would be rejected."""
        if isinstance(frame, Result) and (size := len(to_json(frame.result))) > MAX_RESULT_BYTES:
            raise ProtocolError(f"result has {size} bytes of JSON, the limit is {MAX_RESULT_BYTES}: write it to a file")
        read_frame(encode(frame))  # as the supervisor will: a number may be too long for it, for example
        self.send(frame)

    def log(self, frame: Log) -> None:
        size = len(to_json(frame.fields))
        if size > MAX_TEXT_BYTES // 2:
            frame = Log(frame.level, frame.message, {"dropped": f"fields of {size} bytes"})
        self.send(frame)

    def reset_after_fork(self) -> None:
        """Replace the lock in a process that the task has forked: the thread that held it does not exist there."""
        self._lock = threading.Lock()


def split_text(text: str) -> Iterator[str]:
    """Cut text so that each piece, as ASCII JSON, fits into one event."""
    begin = 0
    while begin < len(text):
        # A character takes at least one byte there, and at most 12 (an escaped surrogate pair).
        piece = cut_text(text[begin : begin + MAX_TEXT_BYTES], MAX_TEXT_BYTES)
        yield piece
        begin += len(piece)


class Decoder:
    """Decodes UTF-8 that may be split anywhere between reads. Invalid bytes become U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes, *, final: bool = False) -> str:
        return self._decoder.decode(data, final)


def open_standard_streams() -> None:
    """Make `print` write line by line, in UTF-8, to descriptors 1 and 2, which lead to the supervisor; stdin is empty.

    The supervisor reads them itself, so it gets what a job has printed even if the job is killed, or its interpreter is
    busy in C code, the next moment.
    """
    # Not in a `with`: they live as long as the process.
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115


def flush_standard_streams(reporter: Reporter) -> None:
    """Write out what `print`, and printf(3) in C code, still hold."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError) as exc:
            # The task may have closed or replaced the stream. It is then responsible for what it printed.
            reporter.log(Log("debug", shown(f"cannot flush {stream!r}: {exc}")))
    flush_c_stdout()
