"""What people are shown of a job's own words: bounded, and always UTF-8.

Python has text that is none: names of files that are not UTF-8 come as lone surrogates (PEP 383), and no JSON takes
those. In a message they are shown as `\\udcff`; a job does not fail for what it wanted to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
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
    kept = text[-limit_bytes:] if keep_end else text[:limit_bytes]
    while (excess := escaped_bytes(kept) - limit_bytes) > 0:
        # One character is at least one byte, and at most 12: so at least so many are too many.
        surplus = max(1, excess // 12)
        kept = kept[surplus:] if keep_end else kept[: len(kept) - surplus]
    return kept


def escaped_bytes(text: str) -> int:
    """What a text takes in ASCII JSON, without its quotation marks."""
    return len(encode_basestring_ascii(text)) - 2
