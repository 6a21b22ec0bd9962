"""A job's own words, bounded and as UTF-8."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.text import cut_text, shown, shown_fields, shown_repr

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))


@given(ANY_TEXT, st.integers(0, 60))
def test_whatever_is_shown_is_utf8_and_bounded(text: str, limit: int) -> None:
    seen = shown(text, limit)
    seen.encode()
    assert len(seen) <= limit * 10  # a lone surrogate takes six characters
    if text.isascii():
        assert seen == text[:limit]


@given(ANY_TEXT.map(shown), st.integers(0, 200))
def test_a_text_is_cut_at_either_end(text: str, limit_bytes: int) -> None:
    for keep_end in (False, True):
        cut = cut_text(text, limit_bytes, keep_end=keep_end)
        assert len(json.dumps(cut)) - 2 <= limit_bytes
        assert text.endswith(cut) if keep_end else text.startswith(cut)
    if len(text) * 12 <= limit_bytes:
        assert cut_text(text, limit_bytes) == text


@given(st.dictionaries(ANY_TEXT, ANY_TEXT | st.binary() | st.floats() | st.lists(ANY_TEXT)))
def test_fields_are_json(fields: dict[str, Any]) -> None:
    json.dumps(shown_fields(fields), allow_nan=False, ensure_ascii=False).encode()


def test_a_repr_that_raises() -> None:
    class Unwilling:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert shown_repr(Unwilling()) == "<Unwilling: its repr raised RuntimeError>"
