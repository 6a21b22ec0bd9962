"""Encode messages as lines of JSON, and decode lines at a cost that no job can choose.

A job can write to its runner's channel, and the supervisor parses what comes there on its event loop. So a line is
checked before it is parsed: only a result may be long, and it may not contain more than MAX_CONTAINERS lists and
objects, because these are what takes time. Numbers that JSON does not have (NaN, Infinity, and what is too large for a
float) are rejected, because readers of the job could not parse them.
"""

from __future__ import annotations

import gc
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from runner.protocol import (
    MAX_EVENT_BYTES,
    MAX_FRAME_BYTES,
    MAX_RESULT_BYTES,
    Described,
    FromRunner,
    Output,
    Result,
    RunnerToGuardian,
    ToRunner,
)
from runner.text import escaped_bytes

Frame = TypeVar("Frame")

TO_RUNNER: TypeAdapter[ToRunner] = TypeAdapter(ToRunner)
FROM_RUNNER: TypeAdapter[FromRunner] = TypeAdapter(FromRunner)
RUNNER_TO_GUARDIAN: TypeAdapter[RunnerToGuardian] = TypeAdapter(RunnerToGuardian)

MAX_SHORT_BYTES = 2 * MAX_EVENT_BYTES
"""The longest line of a message that becomes an event, or that ends a job without a result."""
MAX_CONTAINERS = 100_000
_LONG_ENDS = (b'"type":"result"}\n', b'"type":"described"}\n')
"""The ends of the lines from our runner that may be long."""
_ROOM = 1024
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_PERHAPS_NOT_FINITE = re.compile(rb"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{300}")


class ProtocolError(Exception):
    """Raised when a line is not a message of the expected direction. The sender is at fault."""


def encode(frame: object) -> bytes:
    """Return one line with its newline. Raise ProtocolError if a value is not JSON or the line is too long."""
    try:
        line = to_json(frame, inf_nan_mode="null") + b"\n"
    except ValueError as exc:
        raise ProtocolError(f"cannot encode {type(frame).__name__}: {exc}") from exc
    if len(line) > MAX_FRAME_BYTES:
        raise ProtocolError(f"cannot send {type(frame).__name__}: {len(line)} bytes, limit {MAX_FRAME_BYTES}")
    return line


def decode(adapter: TypeAdapter[Frame], line: bytes) -> Frame:
    """Parse one line. Raise ProtocolError, which names the invalid field."""
    try:
        return adapter.validate_json(line)
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ProtocolError(f"cannot read frame: {where}: {problem['msg']}") from None


def read_frame(line: bytes) -> FromRunner:
    """Parse one line of a runner, with its newline. Raise ProtocolError, which names the invalid field."""
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
    # Brackets in strings cost nothing to parse, so an exact count, which takes longer, leaves them out.
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
    """Pause the garbage collector, which would look for cycles again and again and take most of the time."""
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
