"""Values that a task may return, and the error for a value that it may not return."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from runner.errors import TaskFailed
from runner.protocol import MAX_RESULT_BYTES
from runner.results import plain, unusable


class Scalar:
    """As numpy's are: no JSON for pydantic, and only the methods."""

    def __init__(self, value: object) -> None:
        self.value = value

    def item(self) -> object:
        return self.value


class Array:
    def __init__(self, values: list[Any], size: int | None = None) -> None:
        self.values, self.size = values, len(values) if size is None else size

    def tolist(self) -> list[Any]:
        return self.values


@pytest.fixture
def _numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", types.ModuleType("numpy"))


class Model(BaseModel, arbitrary_types_allowed=True):
    part: object


@dataclass
class LiveJob:
    part: object


def circle() -> dict[str, Any]:
    value: dict[str, Any] = {"a": [1]}
    value["a"].append(value)
    return value


@pytest.mark.usefixtures("_numpy")
def test_scalars_and_arrays_are_numbers_wherever_they_stand() -> None:
    value = {
        "items": [1, {"width": Scalar(3)}],
        "a": Array([[1.5, Scalar(2)], [float("nan")]]),
        "m": Model(part=Scalar(1)),
    }
    assert plain(value) == {"items": [1, {"width": 3}], "a": [[1.5, 2], [None]], "m": {"part": 1}}


def test_they_are_not_json_where_numpy_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    with pytest.raises(TaskFailed, match=r"Scalar is not JSON, at result\.items\[3\]\.width$"):
        plain({"items": [1, 2, 3, {"width": Scalar(3)}]})
    assert "numpy" not in sys.modules


@pytest.mark.usefixtures("_numpy")
def test_an_array_that_cannot_fit_is_not_converted() -> None:
    class Huge(Array):
        def tolist(self) -> list[Any]:
            raise AssertionError("it was made a list")

    with pytest.raises(TaskFailed, match=r"1000000 numbers are more than the 1048576 bytes .*, at result\[1\]$"):
        plain([1, Huge([], size=1_000_000)])
    assert plain(Array([0] * 10, size=MAX_RESULT_BYTES // 2)) == [0] * 10


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (object(), "object is not JSON, at result"),
        ([1, {"a": object()}], "object is not JSON, at result[1].a"),
        ({"not a name": {3: (1, object())}}, "object is not JSON, at result['not a name'][3][1]"),
        ({"m": Model(part=[object()])}, "object is not JSON, at result.m.part[0]"),
        ([LiveJob(part={"x": print})], "builtin_function_or_method is not JSON, at result[0].part.x"),
        ({"b": b"\xff"}, "at result.b"),
        (circle(), "Circular reference (it contains itself), at result.a[1]"),
        ({"x" * 1000: object()}, "…"),
    ],
)
def test_what_is_not_json_is_named_with_its_place(value: object, where: str) -> None:
    with pytest.raises(TaskFailed) as met:
        plain(value)
    assert met.value.kind == "protocol"
    assert met.value.message.startswith("cannot use what the task returned: ")
    assert where in met.value.message
    assert len(met.value.message) < 500


@pytest.mark.parametrize(("value", "where"), [({"t": ["\udcff"]}, "result.t[0]"), ({"n": 10**5000}, "result.n")])
def test_what_cannot_be_written_is_named_as_well(value: object, where: str) -> None:
    assert unusable(plain(value), ValueError("cannot encode")).endswith(f", at {where}")
