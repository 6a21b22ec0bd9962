"""A job's terminal output as finished lines plus one that is still being written.

A live footer stands below the output, so the job must not move the cursor, clear the screen or switch to another one.
Colours, carriage returns, backspaces and erasing within a line (what progress bars are made of) do here what they do
on a terminal; every other control sequence is dropped. Input may be cut anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rich.ansi import AnsiDecoder
from rich.style import Style

Run = tuple[str, Style | None]
Line = list[Run]

MAX_COLUMNS = 4096
"""A longer line is broken here; a job that never writes a newline cannot fill our memory."""

_MAX_SEQUENCE = 4096
_TAB = 8

_SEQUENCE = re.compile(
    r"\x1b\[(?P<params>[0-?]*)[ -/]*(?P<final>[@-~])"  # CSI, such as colours and cursor movement
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC, DCS and their kin, such as window titles
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"  # two-byte escapes
    r"|\x1b(?=[\x00-\x1f\x7f-\U0010ffff])"  # an escape that leads nowhere
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)")
_OTHER = r"\x7f-\x9f\u202a-\u202e\u2066-\u2069"  # C1 controls, and what turns the direction of what follows
_CONTROL = re.compile(rf"[\x00-\x08\x0b-\x1f{_OTHER}]")
_TOKEN = re.compile(rf"\x1b|[\x00-\x1a\x1c-\x1f{_OTHER}]|[^\x00-\x1f{_OTHER}]+")


@dataclass(slots=True)
class LineScreen:
    """Turns text into lines of styled runs. `feed` returns the lines that the text finished."""

    _cells: list[tuple[str, Style | None]] = field(default_factory=list)
    _column: int = 0
    _held_back: str = ""
    _decoder: AnsiDecoder = field(default_factory=AnsiDecoder)

    def feed(self, text: str) -> list[Line]:
        text = self._held_back + text
        self._held_back = ""
        *whole, rest = text.replace("\r\n", "\n").split("\n")
        lines: list[Line] = []
        if whole:
            # The first one may go on with a line that was begun; behind it most output is ordinary.
            self._write_whole(whole[:1], lines)
            ordinary = self._ordinary(whole[1:])
            if ordinary is None:
                self._write_whole(whole[1:], lines)
            else:
                lines += ordinary
        self._write(rest, lines, more_follows=False)
        return lines

    def _write_whole(self, pieces: list[str], lines: list[Line]) -> None:
        for piece in pieces:
            self._write(piece, lines, more_follows=True)
            lines.append(self._finish())

    def _ordinary(self, pieces: list[str]) -> list[Line] | None:
        """Return lines without anything to emulate, None if there is something. A flood is made of these."""
        text = "".join(pieces)
        if _CONTROL.search(text) or max(map(len, pieces), default=0) > MAX_COLUMNS:
            return None
        style = self._decoder.style or None
        if "\t" in text:
            pieces = [piece.expandtabs(_TAB) for piece in pieces]
        return [[(piece, style)] if piece else [] for piece in pieces]

    @property
    def partial(self) -> Line:
        """The line that is still being written; empty when there is none."""
        return _runs(self._cells)

    def flush(self) -> list[Line]:
        """Return the unfinished line as a finished one: the job has ended."""
        self._held_back = ""
        return [self._finish()] if self._cells else []

    def _write(self, piece: str, lines: list[Line], *, more_follows: bool) -> None:
        position = 0
        while position < len(piece):
            token = _TOKEN.match(piece, position)
            assert token is not None
            if token.group() != "\x1b":
                position = token.end()
                if token.group() == "\r" and position == len(piece) and not more_follows:
                    # Its newline may come with the next piece.
                    self._held_back = "\r"
                    return
                self._put(token.group(), lines)
                continue
            sequence = _SEQUENCE.match(piece, position)
            if sequence is not None:
                position = sequence.end()
                self._obey(sequence)
            elif _UNFINISHED.fullmatch(piece, position) and len(piece) - position < _MAX_SEQUENCE:
                # The rest may come with the next piece; none continues behind a newline.
                self._held_back = "" if more_follows else piece[position:]
                return
            else:
                position += 1

    def _put(self, text: str, lines: list[Line]) -> None:
        match text:
            case "\r":
                self._column = 0
            case "\b":
                self._column = max(0, self._column - 1)
            case "\t":
                self._column = min(MAX_COLUMNS, (self._column // _TAB + 1) * _TAB)
            case _ if _CONTROL.match(text):
                pass
            case _:
                self._type(text, lines)

    def _type(self, text: str, lines: list[Line]) -> None:
        style = self._decoder.style or None
        while text:
            if self._column >= MAX_COLUMNS:
                lines.append(self._finish())
            chunk, text = text[: MAX_COLUMNS - self._column], text[MAX_COLUMNS - self._column :]
            self._pad_to(self._column)
            self._cells[self._column : self._column + len(chunk)] = [(char, style) for char in chunk]
            self._column += len(chunk)

    def _obey(self, sequence: re.Match[str]) -> None:
        final, params = sequence["final"], sequence["params"]
        count = int(params) if params and params.isdecimal() else None
        match final:
            case "m" if not params.startswith(("?", ">", "<", "=")):
                # Rich understands colours written with semicolons only; colons mean the same.
                self._decoder.decode_line(f"\x1b[{params.replace(':', ';')}m")
            case "K":
                self._erase(count or 0)
            case "C":
                self._column = min(MAX_COLUMNS, self._column + (count or 1))
            case "D":
                self._column = max(0, self._column - (count or 1))
            case "G":
                self._column = min(MAX_COLUMNS, max(0, (count or 1) - 1))
            case _:
                pass

    def _erase(self, mode: int) -> None:
        if mode == 0:
            del self._cells[self._column :]
        elif mode == 1:
            self._cells[: self._column] = [(" ", None)] * min(self._column, len(self._cells))
        else:
            self._cells.clear()

    def _pad_to(self, column: int) -> None:
        self._cells.extend([(" ", None)] * (column - len(self._cells)))

    def _finish(self) -> Line:
        line = _runs(self._cells)
        self._cells = []
        self._column = 0
        return line


def _runs(cells: list[tuple[str, Style | None]]) -> Line:
    """Join neighbours of one style."""
    runs: Line = []
    for text, style in cells:
        if runs and runs[-1][1] == style:
            runs[-1] = (runs[-1][0] + text, style)
        else:
            runs.append((text, style))
    return runs
