"""Text from a job, as it is shown to people: limited in length, and always valid UTF-8.

Python has text that is not valid Unicode: file names that are not UTF-8 contain lone surrogates (PEP 383), which JSON
cannot have. In a message they are shown as `\\udcff`, so that a job does not fail because of its messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any

from pydantic_core import to_jsonable_python

MAX_REPR = 2000


def shown(text: object, limit: int | None = None) -> str:
    """Return at most `limit` characters of a text, or of the `str` of any other object."""
    return str(text)[:limit].encode("utf-8", "backslashreplace").decode("utf-8")


def shown_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields as JSON values. Values that are not JSON become text."""
    plain = json.dumps({name: _plain(value) for name, value in fields.items()}, ensure_ascii=False)
    # Inside JSON a backslash would begin an escape, so a lone surrogate becomes a question mark.
    made: dict[str, Any] = json.loads(plain.encode("utf-8", "replace"))
    return made


def _plain(value: object) -> Any:
    try:
        return to_jsonable_python(value, fallback=str, inf_nan_mode="null")
    except ValueError:  # bytes that are not text, a value that contains itself, or one that is nested too deeply
        return shown_repr(value)


def shown_repr(value: object) -> str:
    """Return its `repr`. That may be the task's own code and raise, and a very long number has none."""
    try:
        return shown(repr(value), MAX_REPR)
    except Exception as exc:
        return f"<{type(value).__name__}: its repr raised {type(exc).__name__}>"


def describe_exception(exc: BaseException) -> str:
    """Return an exception in one line or more, as Python prints it."""
    name = type(exc).__name__
    try:
        text = shown(exc)
    except Exception as second:  # __str__ is the task's code too
        text = f"(its message cannot be shown: {type(second).__name__})"
    return f"{name}: {text}" if text else name


def cut_text(text: str, limit_bytes: int, *, keep_end: bool = False) -> str:
    """Return the beginning of a text, or its end, that has at most `limit_bytes` as ASCII JSON."""
    if len(text) * 12 <= limit_bytes:  # one character is at most 12 bytes there (an escaped surrogate pair)
        return text
    kept = text[-limit_bytes:] if keep_end else text[:limit_bytes]
    while (excess := escaped_bytes(kept) - limit_bytes) > 0:
        # One character is 1 to 12 bytes, so at least this many characters have to go.
        surplus = max(1, excess // 12)
        kept = kept[surplus:] if keep_end else kept[: len(kept) - surplus]
    return kept


def escaped_bytes(text: str) -> int:
    """Return the size of a text in ASCII JSON, without its quotation marks."""
    return len(encode_basestring_ascii(text)) - 2
