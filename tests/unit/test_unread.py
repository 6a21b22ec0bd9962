"""How much unread output a terminal keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.terminal import unread as module
from runner.terminal.unread import Unread

KEPT = 10
STEPS = st.lists(st.text("ab\n", min_size=1, max_size=25) | st.sampled_from(["", None]))


@given(STEPS)
def test_the_newest_is_kept_whatever_the_pieces_are(steps: list[str | None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_UNREAD", KEPT)
        unread, expected = Unread(), ""
        for step in steps:
            if step is None:
                assert unread.peek() == expected
            elif not step:
                assert unread.take() == expected
                expected = ""
            else:
                unread.add(step)
                expected = (expected + step)[-KEPT:]
            assert bool(unread) == bool(expected)
        assert unread.take() == expected
        assert not unread


def test_much_unread_output_costs_no_copies() -> None:
    unread = Unread()
    for _ in range(5000):
        unread.add("x" * 4096)
    assert len(unread._pieces) * 4096 == module.MAX_UNREAD
    assert len(unread.take()) == module.MAX_UNREAD
