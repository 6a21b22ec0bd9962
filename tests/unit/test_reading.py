"""Data that a job writes to its runner's channel itself: invalid data is refused, at a cost the job cannot raise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import codec
from runner.codec import MAX_CONTAINERS, MAX_SHORT_BYTES, ProtocolError, encode, read_frame
from runner.protocol import MAX_EVENT_BYTES, MAX_RESULT_BYTES, Output, Result
from runner.reporter import MAX_TEXT_BYTES, split_text
from runner.text import escaped_bytes
from supervisor.engine.report import OutputReport
from supervisor.node.reports import report_of

LOG = '{"type":"log","level":"info","message":"x","fields":%s}\n'
RESULT = '{"result":%s,"type":"result"}\n'
PROGRESS = '{"type":"progress","done":%s}\n'


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1E+999", "1" + "0" * 400 + ".5"])
@pytest.mark.parametrize(
    "frame",
    [
        LOG % '{"a":%s}',
        LOG % '{"a":{"b":[1,[%s]]}}',
        RESULT % "%s",
        RESULT % '[{"a":[%s]}]',
        PROGRESS,
        '{"type":"progress","done":1,"total":%s}\n',
    ],
)
def test_numbers_that_json_does_not_have_are_refused(frame: str, number: str) -> None:
    line = (frame % number).encode()
    with pytest.raises(ProtocolError, match="not a number that JSON has"):
        read_frame(line)
    codec.decode(codec.FROM_RUNNER, line)  # the control: the parser alone takes it


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (RESULT % '"NaN and Infinity, 1e999"', "NaN and Infinity, 1e999"),
        (RESULT % '["1e999", 1e300, null]', ["1e999", 1e300, None]),
        (RESULT % ("7" * 400), int("7" * 400)),
    ],
)
def test_what_only_looks_like_one_is_taken(line: str, value: Any) -> None:
    frame = read_frame(line.encode())
    assert isinstance(frame, Result)
    assert frame.result == value
    json.loads(json.dumps(frame.result), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "line",
    [
        RESULT % ("9" * 1_000_000),
        RESULT % ("[" * 5000 + "]" * 5000),
        RESULT % '"\\ud800"',
        LOG % '{"\\udfff": 1}',
        RESULT % "01",
        "{}\n",
        "[]\n",
        "\n",
        '{"type":"result"}\n',
        '{"type":"work"}\n',
        '{"type":"progress","done":"1x"}\n',
        '{"type":"output","stream":"stdout","text":5}\n',
    ],
    ids=lambda line: line[:30],
)
def test_a_line_that_is_not_a_frame_raises_a_protocol_error(line: str) -> None:
    with pytest.raises(ProtocolError, match="cannot read frame"):
        read_frame(line.encode())


def test_lone_bytes_are_refused() -> None:
    with pytest.raises(ProtocolError):
        read_frame((RESULT % '"\udcff"').encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    "line",
    [
        '{"type":"result","result":"%s"}\n' % ("x" * MAX_RESULT_BYTES),  # another order than our runner's
        LOG % ('{"a":[%s0]}' % ("[]," * MAX_SHORT_BYTES)),
        '{"type":"output","stream":"stdout","text":"%s"}\n' % ("x" * 4_000_000),
        '{"type":"progress","done":1,"message":"%s"}\n' % ("x" * MAX_SHORT_BYTES),
        RESULT % ("[%s{}]" % ("{}," * MAX_CONTAINERS)),
        RESULT % ("[%s1]" % ('{"a":1},' * MAX_CONTAINERS)),
    ],
    ids=["result", "log", "output", "progress", "objects", "small objects"],
)
def test_what_costs_too_much_is_refused_before_it_is_parsed(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "decode", pytest.fail)
    with pytest.raises(ProtocolError):
        read_frame(line.encode())


@pytest.mark.parametrize("size", [MAX_RESULT_BYTES - 2, MAX_RESULT_BYTES + 2000])
def test_a_result_may_have_one_mebibyte(size: int) -> None:
    line = (RESULT % json.dumps("x" * size)).encode()
    if size < MAX_RESULT_BYTES:
        assert read_frame(line) == Result("x" * size)
    else:
        with pytest.raises(ProtocolError, match="result: longer than"):
            read_frame(line)


@pytest.mark.parametrize(
    "value",
    [
        '"' + "x" * (MAX_RESULT_BYTES - 1) + '"',
        "[" + "1e15," * 80_000 + "1]",
    ],
    ids=["one byte more", "numbers that are longer when they are written out"],
)
def test_a_result_is_measured_as_it_will_be_written(value: str) -> None:
    line = (RESULT % value).encode()
    with pytest.raises(ProtocolError, match=f"result: longer than {MAX_RESULT_BYTES} bytes"):
        read_frame(line)
    codec.decode(codec.FROM_RUNNER, line)  # the control: the parser alone takes it


def test_escapes_are_shorter_than_a_job_may_write_them() -> None:
    assert read_frame((RESULT % ('"' + "\\u0041" * 100_000 + '"')).encode()) == Result("A" * 100_000)


def test_brackets_in_a_text_are_text() -> None:
    text = '[{"' * 200_000
    assert read_frame(encode(Result(text))) == Result(text)


@pytest.mark.parametrize("long", [PROGRESS % "1", LOG % "{}"])
def test_only_a_result_may_be_long(long: str) -> None:
    # A line that ends like a result but is not one.
    line = long.replace("}\n", ',"x":"%s","y":{"type":"result"}\n' % ("x" * MAX_SHORT_BYTES))
    line = line.replace("\n", "}\n") if line.count("{") > line.count("}") else line
    with pytest.raises(ProtocolError, match="cannot read frame"):
        read_frame(line.encode())


@pytest.mark.parametrize("char", ["x", "é", "\x00", '"', "\U0001f600"])
def test_output_of_our_own_size_is_taken_and_more_is_refused(char: str) -> None:
    (piece, *_) = split_text(char * 200_000)
    assert read_frame(encode(Output("stdout", piece))) == Output("stdout", piece)
    with pytest.raises(ProtocolError, match=r"output\.text|longer than"):
        read_frame(encode(Output("stdout", piece + char * 4096)))


@given(st.text(max_size=300))
def test_pieces_are_the_text_and_fit(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runner.reporter.MAX_TEXT_BYTES", 24)
        pieces = list(split_text(text))
    assert "".join(pieces) == text
    assert all(piece and escaped_bytes(piece) <= 24 for piece in pieces)


def test_an_event_of_the_longest_piece_fits() -> None:
    for piece in split_text("\U0001f600é\x00x" * 20_000):
        assert escaped_bytes(piece) <= MAX_TEXT_BYTES
        report = report_of(Output("stdout", piece), 1)
        assert isinstance(report, OutputReport)
        (text,) = report.pieces
        assert len(json.dumps({"stream": "stdout", "text": text})) < MAX_EVENT_BYTES
