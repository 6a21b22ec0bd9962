"""The exact bounds of a line, and the collector that pauses while one is read."""

from __future__ import annotations

import gc
import json

import pytest
from pydantic import TypeAdapter

from runner import codec
from runner.codec import MAX_CONTAINERS, MAX_SHORT_BYTES, ProtocolError, read_frame
from runner.protocol import (
    MAX_EVENT_BYTES,
    MAX_FRAME_BYTES,
    MAX_RESULT_BYTES,
    Described,
    FromRunner,
    Log,
    Output,
    Result,
)
from runner.text import escaped_bytes

RESULT = '{"result":%s,"type":"result"}\n'


def result_line(value: str) -> bytes:
    return (RESULT % value).encode()


def test_a_line_that_becomes_an_event_has_room_for_its_escapes() -> None:
    assert MAX_SHORT_BYTES == 2 * MAX_EVENT_BYTES
    assert (MAX_CONTAINERS, codec._ROOM) == (100_000, 1024)
    assert MAX_SHORT_BYTES < MAX_RESULT_BYTES < MAX_FRAME_BYTES


def test_as_many_lists_and_objects_as_the_bound_and_none_more() -> None:
    padding = '"' + "x" * MAX_SHORT_BYTES + '"'
    room = MAX_CONTAINERS - 2  # the frame itself and the outer list
    read_frame(result_line("[" + padding + ",[]" * room + "]"))
    read_frame(result_line("[" + padding.replace("x", "[", 1) + ",[]" * room + "]"))
    with pytest.raises(ProtocolError, match=f"more than {MAX_CONTAINERS} lists and objects"):
        read_frame(result_line("[" + padding + ",[]" * room + ",{}]"))


def test_a_log_is_as_long_as_an_event_may_be_and_none_longer() -> None:
    empty = '{"type":"log","level":"info","message":"%s","fields":{"type":"result"}}\n'
    line = empty % ("x" * (MAX_SHORT_BYTES - len(empty) + 2))
    assert len(line) == MAX_SHORT_BYTES
    assert isinstance(read_frame(line.encode()), Log)
    with pytest.raises(ProtocolError, match=f"longer than {MAX_SHORT_BYTES} bytes, and not a result"):
        read_frame(line.replace("xx", "xxx", 1).encode())


def test_a_description_may_be_long() -> None:
    described = Described("m", [], error="x" * MAX_SHORT_BYTES)
    assert read_frame(codec.encode(described)) == described


def test_what_ends_as_a_result_does_must_be_one() -> None:
    line = '{"type":"log","level":"info","message":"%s","fields":{},"type":"result"}\n' % ("x" * MAX_SHORT_BYTES)
    with pytest.raises(ProtocolError, match="cannot read frame"):
        read_frame(line.encode())


def test_a_result_of_exactly_one_mebibyte_is_taken() -> None:
    assert read_frame(result_line(json.dumps("x" * (MAX_RESULT_BYTES - 2)))) == Result("x" * (MAX_RESULT_BYTES - 2))
    spaces = MAX_RESULT_BYTES + 1024 - len(result_line("1"))
    assert read_frame(result_line("1" + " " * spaces)) == Result(1)
    with pytest.raises(ProtocolError, match="result: longer than"):
        read_frame(result_line("1" + " " * (spaces + 2)))


def test_output_is_as_long_as_an_event_may_be_and_none_longer() -> None:
    room = MAX_EVENT_BYTES - escaped_bytes("")
    assert read_frame(codec.encode(Output("stdout", "x" * room))) == Output("stdout", "x" * room)
    with pytest.raises(ProtocolError, match=f"output.text: longer than {MAX_EVENT_BYTES} bytes as ASCII JSON"):
        read_frame(codec.encode(Output("stdout", "x" * (room + 1))))


def test_the_field_with_the_number_is_named() -> None:
    with pytest.raises(ProtocolError, match="cannot read frame: total: inf is not a number"):
        read_frame(b'{"type":"progress","done":1,"total":1e999}\n')
    with pytest.raises(ProtocolError, match="cannot read frame: fields: -inf is not a number"):
        read_frame(b'{"type":"log","level":"info","message":"x","fields":{"a":[1,{"b":-1e999}]}}\n')


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_pauses_while_a_line_is_read(on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    during = []
    decode = codec.decode

    def watched(adapter: TypeAdapter[FromRunner], line: bytes) -> FromRunner:
        during.append(gc.isenabled())
        return decode(adapter, line)

    monkeypatch.setattr(codec, "decode", watched)
    was_on = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        read_frame(result_line("1"))
        assert gc.isenabled() is on
        with pytest.raises(ProtocolError):
            read_frame(b"{}\n")
        assert gc.isenabled() is on
        assert during == [False, False]
    finally:
        (gc.enable if was_on else gc.disable)()
