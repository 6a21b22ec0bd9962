"""The queue of what clients type into a job with an open input, until the job takes it.

The thread that watches the channel adds to it and never blocks: a cancel request behind much input must be seen at
once. The supervisor limits the memory: it counts what was not taken yet and rejects more.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from runner.protocol import InputClosed, InputTaken, StdinChunk, input_cost


@dataclass(frozen=True, slots=True)
class Typed:
    """One piece: bytes to write, then the end of the input if `eof`; `size` is rows and columns."""

    data: bytes
    eof: bool
    size: tuple[int, int] | None
    cost: int


class JobStdin:
    """`put` is for the watch thread, all other methods for one thread."""

    def __init__(self, report: Callable[[object], None]) -> None:
        self._report = report
        self._pieces: deque[Typed] = deque()
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._lock = threading.Lock()
        self._closed = False

    def fileno(self) -> int:
        """Return a descriptor that is readable while there is something to take."""
        return self._read

    def put(self, frame: StdinChunk) -> None:
        size = None if frame.rows is None or frame.columns is None else (frame.rows, frame.columns)
        piece = Typed(frame.text.encode("utf-8", "replace"), frame.eof, size, input_cost(frame.text))
        with self._lock:
            if not self._closed:
                if not self._pieces:
                    os.write(self._write, b"!")
                self._pieces.append(piece)

    def take(self) -> Typed | None:
        """Return the next piece, or None if there is none. Call `taken` once it has been used."""
        with self._lock:
            if not self._pieces:
                return None
            piece = self._pieces.popleft()
            if not self._pieces:
                os.read(self._read, 1)
            return piece

    def taken(self, piece: Typed) -> None:
        """Report to the supervisor that there is room for as much again."""
        self._report(InputTaken(piece.cost))

    def close(self) -> None:
        """Accept no more input, and tell the clients. Further calls do nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._pieces.clear()
        self._report(InputClosed())
