"""What people are shown of a job's own words: bounded, and always UTF-8.

Python has text that is none: names of files that are not UTF-8 come as lone surrogates (PEP 383), and no JSON takes
those. In a message they are shown as `\\udcff`; a job does not fail for what it wanted to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_jsonable_python

MAX_REPR = 2000


def shown(text: object, limit: int | None = None) -> str:
    """At most `limit` characters of a text, or of what `str` makes of something else."""
    return str(text)[:limit].encode("utf-8", "backslashreplace").decode("utf-8")


def shown_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON. What is none becomes text."""
    plain = json.dumps({name: _plain(value) for name, value in fields.items()}, ensure_ascii=False)
    # Inside JSON a backslash would begin an escape, so that a lone surrogate becomes a question mark.
    made: dict[str, Any] = json.loads(plain.encode("utf-8", "replace"))
    return made


def _plain(value: object) -> Any:
    try:
        return to_jsonable_python(value, fallback=str, inf_nan_mode="null")
    except ValueError:  # bytes that are no text, what contains itself, what is too deep
        return shown_repr(value)


def shown_repr(value: object) -> str:
    """Its `repr`, whatever that does: it may be the task's own code, and of a very long number there is none."""
    try:
        return shown(repr(value), MAX_REPR)
    except Exception as exc:
        return f"<{type(value).__name__}: its repr raised {type(exc).__name__}>"


def words_of(exc: BaseException) -> str:
    """An exception in one line or more, as Python prints it."""
    name = type(exc).__name__
    try:
        text = shown(exc)
    except Exception as second:  # __str__ is the task's code, too
        text = f"(its message cannot be shown: {type(second).__name__})"
    return f"{name}: {text}" if text else name


def cut_text(text: str, limit_bytes: int, *, keep_end: bool = False) -> str:
    """The beginning of a text, or its end, that has at most `limit_bytes` as ASCII JSON."""
    if len(text) * 12 <= limit_bytes:  # one character is at most 12 bytes there (an escaped surrogate pair)
        return text
    room, kept = limit_bytes, 0
    for char in reversed(text) if keep_end else text:
        room -= escaped_bytes(char)
        if room < 0:
            break
        kept += 1
    return text[len(text) - kept :] if keep_end else text[:kept]


def escaped_bytes(text: str) -> int:
    """An upper bound of what a text takes in ASCII JSON."""
    plain = sum(1 for char in text if " " <= char <= "~")
    astral = sum(1 for char in text if char > "\uffff")
    return plain * 2 + astral * 12 + (len(text) - plain - astral) * 6
