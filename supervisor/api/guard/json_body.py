"""Parse a request body into a JSON object that is safe for everything that uses it.

Python's parser accepts more than JSON (NaN, repeated names) and fails in its own ways on hostile input (depth, long
numbers). All of that raises `InvalidRequest` with a clear message, and so does what could not be passed on: NUL, which
command lines and file names cannot contain, and halves of surrogate pairs, which UTF-8 cannot encode.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeAlias

from supervisor.errors import InvalidRequest

MAX_DEPTH = 64
"""How deep values may be nested. What parses at the interpreter's own limit would fail later, where it is compared,
validated or serialized."""

MAX_VALUES = 50_000
"""How many JSON values of any type a body may have. Checking a value costs more than reading its bytes."""
FEW_VALUES = 100
"""The same for bodies with a handful of fields."""

MAX_WHOLE = 2**53
"""Up to this value floating point can represent every integer. Larger ones would grow to hundreds of digits."""

_Path: TypeAlias = "tuple[_Path, str] | None"
"""The location of a value as a chain of names from the inside out, which is cheap for values that are valid."""

_NUL_OR_HALF_PAIR = re.compile(r"\\u(0000|[dD][89a-fA-F])")


def parse_object(body: bytes, *, max_values: int = FEW_VALUES) -> dict[str, Any]:
    """Return the JSON object in `body`. Raise InvalidRequest if it is not one, or has more values than allowed."""
    if not body.strip():
        raise InvalidRequest.at("", "the body is empty; send a JSON object")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidRequest.at("", f"the body is not UTF-8: byte {exc.start} is not") from None
    _check_count(body, max_values)
    value = _parse(text)
    if not isinstance(value, dict):
        raise InvalidRequest.at("", f"the body must be a JSON object, not {_json_type(value)}")
    if text.count("{") + text.count("[") > MAX_DEPTH or _NUL_OR_HALF_PAIR.search(text):
        _walk(value)
    return value


def _check_count(body: bytes, max_values: int) -> None:
    """Count the values before parsing them, as fast as a byte can be searched for."""
    # At most one value follows each of these; the first value follows none.
    if body.count(b",") + body.count(b"[") + body.count(b"{") < max_values:
        return
    # There are more, unless these are in strings. Without escapes every quote starts or ends a string.
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') <= 4 * max_values:  # a name and a text for each value
        outside = b"".join(bare.split(b'"')[::2])
        opened = outside.count(b"[") + outside.count(b"{")
        if 1 + outside.count(b",") + opened <= max_values:
            return
        if opened - outside.count(b"]") - outside.count(b"}") > MAX_DEPTH:
            raise _too_deep("")
    raise InvalidRequest.at("", f"the body holds more than {max_values} JSON values")


def _parse(text: str) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=_object_without_repeats,
            parse_constant=_refuse_constant,
            parse_float=_number,
            parse_int=_bounded_int,
        )
    except json.JSONDecodeError as exc:
        raise InvalidRequest.at(
            "", f"the body is not JSON: {exc.msg} at line {exc.lineno} column {exc.colno}"
        ) from None
    except RecursionError:
        raise _too_deep("") from None


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InvalidRequest.at(_printable(name), "appears twice in the same object")
            seen.add(name)
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequest.at("", f"the body is not JSON: {name} is not a JSON number")


def _number(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise InvalidRequest.at("", f"the number {digits[:40]} is too large")
    # JSON has one kind of number: 3.0 is an integer to JSON Schema, and JavaScript writes it as 3.
    return int(number) if number.is_integer() and abs(number) <= MAX_WHOLE else number


def _bounded_int(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        # Python does not convert thousands of digits, because that takes quadratic time.
        raise InvalidRequest.at("", f"a number of {len(digits)} digits is too long") from None


def _walk(root: dict[str, Any]) -> None:
    """Check every value, without recursion. Raise InvalidRequest, which names the path, if one is not allowed."""
    stack: list[tuple[_Path, Any, int]] = [(None, root, 1)]
    while stack:
        path, value, depth = stack.pop()
        if isinstance(value, str):
            _check_text(path, value)
        elif isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise _too_deep(_dotted(path))
            named = value.items() if isinstance(value, dict) else ((str(i), item) for i, item in enumerate(value))
            for name, item in named:
                here = (path, name)
                _check_text(here, name)
                stack.append((here, item, depth + 1))


def _check_text(path: _Path, text: str) -> None:
    if text.isascii() and "\0" not in text:
        return
    if "\0" in text:
        raise InvalidRequest.at(_dotted(path), "must not contain NUL (\\u0000)")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise InvalidRequest.at(_dotted(path), f"half of a surrogate pair at character {exc.start}") from None


def _dotted(path: _Path) -> str:
    names: list[str] = []
    while path is not None:
        path, name = path
        names.append(_printable(name))
    return ".".join(reversed(names))[:200]


def _too_deep(path: str) -> InvalidRequest:
    return InvalidRequest.at(path, f"is nested deeper than {MAX_DEPTH} levels")


def _printable(name: str) -> str:
    """Return a name for use in a message: short, and without characters that a terminal or UTF-8 cannot handle."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in name[:80])


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case list():
            return "an array"
        case str():
            return "a string"
        case _:
            return "a number"
