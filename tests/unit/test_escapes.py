"""Terminal output becomes plain text, wherever its pieces were cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.terminal.ansi import PlainText, plain_text

COLOURED = (
    "\x1b[1;31mred\x1b[0m \x1b]0;a title\x07plain\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\r\n"
    "50 %\r100 %\x1b[K\r\n\x1b(B$ "
)


def in_pieces(text: str, cuts: list[int]) -> str:
    plain = PlainText()
    edges = [0, *sorted(cuts), len(text)]
    pieces = [plain.feed(text[a:b]) for a, b in itertools.pairwise(edges)]
    return "".join(pieces) + plain.feed("", final=True)


def test_what_a_terminal_obeys_is_gone_and_the_text_stays() -> None:
    assert plain_text(COLOURED) == "red plainlink\n50 %\r100 %\n$ "


@given(st.lists(st.integers(0, len(COLOURED)), max_size=8))
def test_the_cuts_do_not_matter(cuts: list[int]) -> None:
    assert in_pieces(COLOURED, cuts) == plain_text(COLOURED)


@given(st.text(alphabet="\x1b[]m0;\x07\\\r\nab", max_size=30), st.lists(st.integers(0, 30), max_size=5))
def test_no_escape_is_left_of_any_nonsense(text: str, cuts: list[int]) -> None:
    assert "\x1b" not in in_pieces(text, [cut for cut in cuts if cut <= len(text)])


@pytest.mark.parametrize("begun", ["\x1b]0;", "\x1b["])
def test_a_sequence_that_never_ends_is_not_waited_for(begun: str) -> None:
    plain = PlainText()
    got = plain.feed(begun) + "".join(plain.feed("0" * 1000) for _ in range(10))
    assert len(got) > 5000
