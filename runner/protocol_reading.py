"""Reading what a runner sends, at a cost that no job can choose.

A job can write to its runner's channel. What it writes there is parsed on the supervisor's event loop, so a line is
measured before it is parsed: only a result may be long, and it may not be made of more than MAX_CONTAINERS lists and
objects, which is what takes time. Numbers that JSON does not have (NaN, Infinity, and what is too large for a float)
are refused, because whoever reads the job after this could not parse it.
"""

from __future__ import annotations

import gc
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

from pydantic_core import to_json

from runner.protocol import (
    FROM_RUNNER,
    MAX_EVENT_BYTES,
    MAX_RESULT_BYTES,
    Described,
    FromRunner,
    Output,
    ProtocolError,
    Result,
    decode,
)
from runner.text import escaped_bytes

MAX_SHORT_BYTES = 2 * MAX_EVENT_BYTES
"""Longest line of a frame that becomes an event, or the end of a job without a result."""
MAX_CONTAINERS = 100_000
_LONG_ENDS = (b'"type":"result"}\n', b'"type":"described"}\n')
"""How our runner ends a line that may be long."""
_ROOM = 1024
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_PERHAPS_NOT_FINITE = re.compile(rb"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{300}")


def read_frame(line: bytes) -> FromRunner:
    """Parse one line of a runner's, with its newline. Raises ProtocolError naming what does not fit."""
    if len(line) > MAX_SHORT_BYTES:
        _check_long(line)
    with _without_collection():
        frame = decode(FROM_RUNNER, line)
    if isinstance(frame, Result) and len(line) > MAX_SHORT_BYTES:
        _check_result(frame, line)
    elif len(line) > MAX_SHORT_BYTES and not isinstance(frame, Described):
        raise ProtocolError(f"cannot read frame: {frame.type}: longer than {MAX_SHORT_BYTES} bytes")
    if isinstance(frame, Output) and escaped_bytes(frame.text) > MAX_EVENT_BYTES:
        raise ProtocolError(f"cannot read frame: output.text: longer than {MAX_EVENT_BYTES} bytes as ASCII JSON")
    if _PERHAPS_NOT_FINITE.search(line) is not None:
        _check_finite(frame)
    return frame


def _check_long(line: bytes) -> None:
    if not line.endswith(_LONG_ENDS):
        raise ProtocolError(f"cannot read frame: longer than {MAX_SHORT_BYTES} bytes, and not a result")
    # Brackets in text cost nothing to parse, so they are left out, once there is reason to count with care.
    if _containers(line) > MAX_CONTAINERS and _containers(_STRINGS.sub(b"", line)) > MAX_CONTAINERS:
        raise ProtocolError(f"cannot read frame: more than {MAX_CONTAINERS} lists and objects: write them to a file")


def _check_result(frame: Result, line: bytes) -> None:
    # Measured as our runner measures it: the numbers and the escapes that a job writes itself may be shorter there.
    if len(line) > MAX_RESULT_BYTES + _ROOM or len(to_json(frame.result)) > MAX_RESULT_BYTES:
        raise ProtocolError(f"cannot read frame: result: longer than {MAX_RESULT_BYTES} bytes")


def _containers(line: bytes) -> int:
    return line.count(b"[") + line.count(b"{")


@contextmanager
def _without_collection() -> Iterator[None]:
    """Python looks for cycles each time so many lists were made, which takes most of the time, and finds none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _check_finite(frame: object) -> None:
    pending: list[tuple[str, object]] = [("", frame)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise ProtocolError(f"cannot read frame: {name}: {value} is not a number that JSON has")
        if isinstance(value, list):
            pending += [(name, item) for item in value]
        elif isinstance(value, dict):
            pending += [(name, item) for item in value.values()]
        elif is_dataclass(value):
            pending += [(field.name, getattr(value, field.name)) for field in fields(value)]
