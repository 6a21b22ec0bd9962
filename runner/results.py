"""Convert the return value of a task to JSON. If that fails, name the part that cannot be converted."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json, to_jsonable_python

from runner.errors import TaskFailed
from runner.protocol import MAX_MESSAGE, MAX_RESULT_BYTES
from runner.text import shown

MAX_DEPTH = 100
MAX_NUMBER_BITS = 14_000
"""Longer numbers cannot be read as JSON: Python refuses to read more than 4,300 digits."""
MAX_PATH = 300


def plain(value: object) -> object:
    """Return the result as plain JSON values. A generator is the task's code and is read only once.

    Raise TaskFailed (kind protocol), which names the first part that is not JSON.
    """
    try:
        return _jsonable(value)
    except ValueError as exc:
        raise TaskFailed("protocol", unusable(value, exc)) from exc


def unusable(value: object, exc: Exception) -> str:
    """Return the message for a result that cannot be reported: the reason and the part."""
    where, why = _first_problem(value, exc)
    return shown(f"cannot use what the task returned: {why}, at {where}", MAX_MESSAGE)


def _jsonable(value: object) -> object:
    return to_jsonable_python(value, inf_nan_mode="null", fallback=_convert_array)


def _convert_array(value: Any) -> object:
    """Convert scalars and arrays that have numpy's methods, whatever library they come from. Nothing is imported."""
    kind = type(value)
    if "numpy" in sys.modules and not isinstance(value, type):
        size = getattr(value, "size", None)
        if isinstance(size, int) and size * 2 > MAX_RESULT_BYTES:  # a digit and a comma each, at least
            raise ValueError(f"{size} numbers are more than the {MAX_RESULT_BYTES} bytes of a result (use a file)")
        for name in ("tolist", "item"):
            convert = getattr(value, name, None)
            if callable(convert) and type(converted := convert()) is not kind:
                return converted
    raise ValueError(f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.") + " is not JSON")


def _check(part: object) -> None:
    if isinstance(part, int) and part.bit_length() > MAX_NUMBER_BITS:
        raise ValueError("the number is too long")
    to_json(_jsonable(part))


def _first_problem(value: object, exc: Exception) -> tuple[str, str]:
    """Return the path and the description of the first problem. Each step enters the part that fails."""
    path, above = "result", [id(value)]
    while len(above) < MAX_DEPTH:
        for name, part in _parts(value):
            if id(part) in above:
                return _cut(path + name), "Circular reference (it contains itself)"
            try:
                _check(part)
            except ValueError as problem:
                value, exc, path = part, problem, path + name
                above.append(id(part))
                break
        else:
            break
    return _cut(path), str(exc)


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    """Yield the parts of a value with the steps of a path to them. Iterators are left out, because they can be read
    only once.
    """
    if isinstance(value, Mapping):
        yield from ((_key(key), part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif isinstance(value, BaseModel):
        yield from ((f".{name}", getattr(value, name)) for name in type(value).model_fields)
    elif dataclasses.is_dataclass(value):
        yield from ((f".{each.name}", getattr(value, each.name)) for each in dataclasses.fields(value))


def _key(key: object) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{shown(repr(key), MAX_PATH // 4)}]"


def _cut(path: str) -> str:
    return path if len(path) <= MAX_PATH else f"{path[: MAX_PATH // 2]}…{path[-MAX_PATH // 2 :]}"
