"""Find out whether an exception still unwinds the stack, or was swallowed on its way.

While it unwinds, some frame that it passed runs the code that handles it: a `finally`, an `except`, the exit of a
`with`. The compiler covers such code with an entry of its own in the exception table, which restores the exception that
was handled before. So the position in a frame shows whether the frame is handling an exception. See
InternalDocs/exception_handling.md of CPython.
"""

from __future__ import annotations

import opcode
from functools import lru_cache
from types import CodeType, FrameType

_COPY, _POP_EXCEPT = opcode.opmap["COPY"], opcode.opmap["POP_EXCEPT"]
_UNIT = 2
"""Bytes of an instruction, which is the unit of the table."""

Span = tuple[int, int]


def is_unwinding(exc: BaseException, frame: FrameType | None) -> bool:
    """Return whether `frame`, or one of its callers, is handling `exc`, which was raised in the same thread."""
    came_through: dict[FrameType, list[int]] = {}
    entry = exc.__traceback__
    while entry is not None:
        came_through.setdefault(entry.tb_frame, []).append(entry.tb_lasti)
        entry = entry.tb_next
    while frame is not None:
        for raised_at in came_through.get(frame, ()):
            # A handler in which the exception was raised handles another one.
            if any(_is_in(frame.f_lasti, span) and not _is_in(raised_at, span) for span in handlers(frame.f_code)):
                return True
        frame = frame.f_back
    return False


@lru_cache(maxsize=1024)
def handlers(code: CodeType) -> tuple[Span, ...]:
    """Return the ranges of code that run while an exception is handled, as byte offsets: the first and one after the
    last.
    """
    spans: dict[int, Span] = {}
    for start, end, target in _table(code.co_exceptiontable):
        # The code that restores the previous exception begins like this. Its entries have gaps where the handler
        # contains a `try`, which has entries of its own.
        if code.co_code[target : target + 3] == bytes((_COPY, 3, _POP_EXCEPT)):
            first, last = spans.get(target, (start, end))
            spans[target] = (min(first, start), max(last, end))
    return tuple(spans.values())


def _table(table: bytes) -> list[tuple[int, int, int]]:
    """Return the entries of an exception table as (first byte, one after the last, target).

    An entry is four numbers with six bits in each byte, the highest first.
    """
    numbers: list[int] = []
    value = 0
    for byte in table:
        value = value << 6 | byte & 0x3F
        if not byte & 0x40:
            numbers.append(value)
            value = 0
    entries = zip(*[iter(numbers)] * 4, strict=True)
    return [(start * _UNIT, (start + length) * _UNIT, target * _UNIT) for start, length, target, _depth in entries]


def _is_in(offset: int, span: Span) -> bool:
    return span[0] <= offset < span[1]
