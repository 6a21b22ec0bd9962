"""The bytes to type into a command, and how much of them its terminal accepts at once.

A terminal that edits lines (canonical mode, termios(3)) keeps 4095 bytes of a line and silently drops the rest. So a
longer line is written in pieces, each followed by the end-of-file character, which in the middle of a line means: pass
on to the reader what there is.
"""

from __future__ import annotations

import os
import re
import termios

LINE_BYTES = 4095
PIECE_BYTES = 16 * 1024
_END_OF_INPUT = b"\x04"
_LINE_ENDERS = (termios.VEOF, termios.VEOL, termios.VKILL, termios.VINTR, termios.VQUIT, termios.VSUSP)
"""Characters after which a line begins anew, because the terminal has passed it on or dropped it."""


class TypedText:
    """A queue of bytes for one command. `terminal` says whether they go to a terminal or to a pipe."""

    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal
        self._unsent = bytearray()
        self._at_line_start = True
        self._column = 0

    def __len__(self) -> int:
        return len(self._unsent)

    def add(self, data: bytes, *, eof: bool = False) -> None:
        """Queue `data`. The end of a terminal's input is Ctrl-D."""
        self._unsent += data
        if data:
            self._at_line_start = data[-1:] in (b"\n", b"\r")
        if eof and self._terminal:
            # In the middle of a line, the first character only passes the line on; the second one ends the input.
            self._unsent += _END_OF_INPUT if self._at_line_start else _END_OF_INPUT * 2
            self._at_line_start = True

    def clear(self) -> None:
        self._unsent.clear()

    def send(self, fd: int) -> None:
        """Write as much as `fd` accepts now. Raise OSError if it accepts no more, now (BlockingIOError) or ever."""
        while self._unsent:
            enders = _line_enders(fd) if self._terminal else None
            piece = bytes(self._unsent[:PIECE_BYTES]) if enders is None else self._next_piece(enders)
            sent = os.write(fd, piece)
            del self._unsent[:sent]
            ends = [0] if enders is None else [match.end() for match in enders.finditer(piece, 0, sent)]
            self._column = sent - ends[-1] if ends else self._column + sent

    def _next_piece(self, enders: re.Pattern[bytes]) -> bytes:
        """Return whole lines; if there are none, as much of a line as there is room for, and then the character that
        passes it on.
        """
        piece = bytes(self._unsent[:PIECE_BYTES])
        whole, column = 0, self._column
        for match in enders.finditer(piece):
            if column + match.start() - whole > LINE_BYTES:
                break
            whole, column = match.end(), 0
        if whole:
            return piece[:whole]
        if self._column >= LINE_BYTES:
            self._unsent[:0] = _END_OF_INPUT
            return _END_OF_INPUT
        return piece[: LINE_BYTES - self._column]


def _line_enders(fd: int) -> re.Pattern[bytes] | None:
    """Return a pattern for the end of a line in a terminal that edits lines. Return None for other terminals, which
    drop nothing.
    """
    input_flags, _, _, local_flags, _, _, characters = termios.tcgetattr(fd)
    if not local_flags & termios.ICANON or characters[termios.VEOF] != _END_OF_INPUT:
        return None
    enders = b"\n" + b"".join(characters[number] for number in _LINE_ENDERS if characters[number] != b"\0")
    if input_flags & termios.ICRNL:
        enders += b"\r"
    return re.compile(b"[" + re.escape(enders) + b"]")
