"""The frames between server, guardian and runner: what they look like on the wire, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from types import ModuleType
from typing import Any

import pytest

from runner import protocol
from runner.codec import FROM_RUNNER, TO_RUNNER, ProtocolError, decode, encode
from runner.protocol import (
    MAX_FRAME_BYTES,
    CancelRequest,
    InputTaken,
    Output,
    Result,
    RunTask,
    StdinChunk,
    User,
    input_cost,
)
from supervisor.guardian import protocol as guardian_protocol

WORK = RunTask(
    "j", "m", "t", {"a": [1]}, "/w", {"PATH": "/bin"}, secrets={"KEY": "sk-secret"}, user=User("u", 1, 2, [3])
)


def frames_of(module: ModuleType) -> list[type]:
    return [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]


def test_a_frame_is_one_line_and_comes_back_as_it_was() -> None:
    line = encode(WORK)
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert decode(TO_RUNNER, line) == WORK
    assert decode(TO_RUNNER, encode(CancelRequest())) == CancelRequest()
    assert json.loads(encode(Output("stdout", "a\nb"))) == {"stream": "stdout", "text": "a\nb", "type": "output"}


def test_what_json_cannot_say_is_null_or_refused() -> None:
    assert json.loads(encode(Result([float("nan"), float("inf"), 1.5])))["result"] == [None, None, 1.5]
    with pytest.raises(ProtocolError, match="cannot encode Result: "):
        encode(Result(object()))


def test_a_line_has_a_longest() -> None:
    room = MAX_FRAME_BYTES - len(encode(Output("stdout", "")))
    assert len(encode(Output("stdout", "x" * room))) == MAX_FRAME_BYTES
    with pytest.raises(ProtocolError, match=f"cannot send Output: {MAX_FRAME_BYTES + 1} bytes, limit"):
        encode(Output("stdout", "x" * (room + 1)))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "cannot read frame: : "),
        (b"[]", "cannot read frame"),
        (b'{"type": "work"}', "cannot read frame: work.job_id: "),
        (b'{"type": "output", "stream": "stdout", "text": "x"}', "cannot read frame: : "),  # not for a runner
        (encode(WORK).replace(b'"groups":[3]', b'"groups":["three"]'), "work.user.groups.0: "),
    ],
)
def test_a_frame_that_is_not_of_this_direction_is_refused_with_its_field(line: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words.replace(".", r"\.")) as caught:
        decode(TO_RUNNER, line)
    assert caught.value.__cause__ is None


def test_input_that_was_taken_is_never_less_than_nothing() -> None:
    assert decode(FROM_RUNNER, encode(InputTaken(0))) == InputTaken(0)
    with pytest.raises(ProtocolError, match="cost"):
        decode(FROM_RUNNER, encode(InputTaken(-1)))


def test_empty_input_is_not_free_and_text_counts_in_bytes() -> None:
    assert input_cost("") == protocol.INPUT_FRAME_COST
    assert input_cost("aé") == protocol.INPUT_FRAME_COST + 3
    assert input_cost("\ud800") == protocol.INPUT_FRAME_COST + 1  # half of a pair, which a client may send


def test_secrets_are_not_shown() -> None:
    assert "sk-secret" not in repr(WORK)
    assert b"sk-secret" in encode(WORK)


def test_the_defaults_ask_for_nothing_more() -> None:
    assert dataclasses.asdict(StdinChunk()) == {
        "text": "",
        "eof": False,
        "rows": None,
        "columns": None,
        "type": "input",
    }
    stop: Any = guardian_protocol.Stop(t0=1.0, budget_s=2.0)
    assert not any((stop.force, stop.vanished, stop.after_result))


@pytest.mark.parametrize("frame", [*frames_of(protocol), *frames_of(guardian_protocol)], ids=lambda one: one.__name__)
def test_frames_are_values(frame: Any) -> None:
    if not issubclass(frame, Exception):
        assert frame.__dataclass_params__.frozen
        assert "__slots__" in vars(frame)
