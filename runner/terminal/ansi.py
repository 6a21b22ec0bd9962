"""Turn terminal output into plain text, without colours, cursor movements and titles, wherever the pieces were cut."""

from __future__ import annotations

import re

_MAX_SEQUENCE = 4096
"""Longer than any real sequence: text that does not end one within this length is not a sequence."""

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI, such as colours and cursor movement
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC, DCS and their kin, such as window titles
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"  # two-byte escapes
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class PlainText:
    """A filter for terminal output. It returns the text with `\\n` as the end of lines.

    A carriage return by itself stays, because it means that a line was overwritten, as progress bars do.
    """

    def __init__(self) -> None:
        self._held_back = ""

    def feed(self, text: str, *, final: bool = False) -> str:
        text = self._held_back + text
        self._held_back = ""
        if not final:
            text, self._held_back = _split_unfinished(text)
        return _CONTROL.sub("", _SEQUENCE.sub("", text)).replace("\r\n", "\n")


def plain_text(text: str) -> str:
    return PlainText().feed(text, final=True)


def _split_unfinished(text: str) -> tuple[str, str]:
    """Return the text, and the beginning of a sequence or of a line's end that the next piece may continue."""
    if text.endswith("\r"):
        return text[:-1], "\r"
    start = text.rfind("\x1b", max(0, len(text) - _MAX_SEQUENCE))
    if text.endswith("\x1b"):
        # This one may be the first half of what ends a title or another string that began before it.
        before = text.rfind("\x1b", max(0, len(text) - _MAX_SEQUENCE), start)
        start = before if before >= 0 and _UNFINISHED.match(text, before) else start
    if start >= 0 and _UNFINISHED.match(text, start):
        return text[:start], text[start:]
    return text, ""
