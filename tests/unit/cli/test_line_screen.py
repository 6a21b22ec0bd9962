"""A job's terminal output becomes lines: progress bars work, and sequences that would damage the footer are dropped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from supervisor.cli.run.line_screen import MAX_COLUMNS, LineScreen


def lines(*pieces: str) -> list[str]:
    """All lines of the pieces as plain text, the unfinished one last."""
    screen = LineScreen()
    finished = [line for piece in pieces for line in screen.feed(piece)]
    return ["".join(text for text, _ in line) for line in [*finished, *screen.flush()]]


def test_lines_of_a_terminal_end_with_cr_lf() -> None:
    assert lines("one\r\ntwo\r\n") == ["one", "two"]


def test_a_pair_of_cr_lf_may_come_in_two_pieces() -> None:
    assert lines("one\r", "\ntwo\r", "\n") == ["one", "two"]


def test_an_empty_line_stays() -> None:
    assert lines("one\r\n\r\ntwo") == ["one", "", "two"]


def test_carriage_return_writes_over_the_line() -> None:
    assert lines("10%\r20%\r100%\n") == ["100%"]
    assert lines("hello\rJ\n") == ["Jello"]


def test_erasing_the_line_removes_what_a_shorter_text_leaves() -> None:
    assert lines("a long text\r\x1b[Kshort\n") == ["short"]
    assert lines("a long text\x1b[2K\rshort\n") == ["short"]
    assert lines("abcdef\b\b\b\x1b[Kx\n") == ["abcx"]


def test_backspace_tab_and_moves_within_the_line() -> None:
    assert lines("abc\b\bX\n") == ["aXc"]
    assert lines("a\tb\n", "ab\rc\td\n") == ["a       b", "cb      d"]
    assert lines("abc\x1b[2D_\x1b[5G!\n") == ["a_c !"]


def test_what_would_move_the_footer_is_dropped() -> None:
    wreckers = "\x1b[2J\x1b[H\x1b[3A\x1b[?1049h\x1b[?25l\x1b[10;20Hx\x1b[1;5r\x1b7\x1b8\x1bM\x1bc"
    assert lines(f"{wreckers}safe\x07\n") == ["xsafe"]


def test_window_titles_and_links_are_dropped() -> None:
    assert lines("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x1b]8;;\x1b\\\n") == ["ab"]
    assert lines("\x1bPdevice control\x1b\\a\n") == ["a"]


def test_a_sequence_may_be_cut_anywhere() -> None:
    text = "\x1b[1;31mred\x1b[0m \x1b]0;title\x1b\\plain\r\n"
    for cut in range(len(text)):
        assert lines(text[:cut], text[cut:]) == ["red plain"], cut


def test_a_sequence_that_never_ends_does_not_swallow_the_output() -> None:
    assert lines("\x1b[12\x01after\n")[-1].endswith("after")
    assert "after" in "".join(lines("\x1b]0;" + "x" * 5000, "\x07after\n"))


def test_colours_are_kept_over_lines_until_reset() -> None:
    screen = LineScreen()
    first, second, third = screen.feed("\x1b[1;31mred\r\nstill\x1b[0m plain\r\nplain\r\n")
    assert first == [("red", Style(bold=True, color="color(1)"))]
    assert second[0] == ("still", Style(bold=True, color="color(1)"))
    assert second[1] == (" plain", None)
    assert third == [("plain", None)]


def test_the_unfinished_line_is_there_to_be_drawn() -> None:
    screen = LineScreen()
    assert screen.feed("download 10%\rdownload 20%") == []
    assert screen.partial == [("download 20%", None)]


def test_a_line_without_an_end_is_broken() -> None:
    text = "x" * (2 * MAX_COLUMNS + 5)
    assert lines(text) == ["x" * MAX_COLUMNS, "x" * MAX_COLUMNS, "x" * 5]


def test_a_move_far_to_the_right_is_bounded() -> None:
    (line,) = lines("\x1b[99999999Cx\x1b[99999999Gy\n")[-1:]
    assert len(line) <= MAX_COLUMNS


def test_nothing_turns_the_direction_of_a_line() -> None:
    assert lines("a\u202eb\u2066c\n", "\x1b[1md\u202ee\n") == ["abc", "de"]


@given(st.text(alphabet=st.sampled_from("ab\r\n\t\b\x07\x1b[]0;1mKCDGHJ?\\é宽")), st.integers(0, 40))
def test_any_text_cut_anywhere_gives_the_same_lines(text: str, cut: int) -> None:
    whole = lines(text)
    assert lines(text[:cut], text[cut:]) == whole
    assert not any("\x1b" in line or "\r" in line or "\b" in line for line in whole)
