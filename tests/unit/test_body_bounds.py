"""A body with too many values is refused before it is parsed, and the response is short."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.api.guard.json_body import FEW_VALUES, MAX_VALUES, parse_object
from supervisor.api.guard.problems import problem_for
from supervisor.api.schemas.bodies import CreateBody, SessionBody, validate
from supervisor.errors import MAX_ERRORS, InvalidRequest

MIB = 1 << 20


def listed(item: bytes, count: int) -> bytes:
    """An object with `count` values more than the object, the list and its first field."""
    return b'{"a":[' + b",".join([item] * count) + b"]}"


@pytest.mark.parametrize("item", [b"1", b'""', b'"\\""', b'",[{"', b"[]", b"{}", b'{"":1}', b'"\\\\"'])
def test_the_bound_is_exact(item: bytes) -> None:
    values = 2 if item in {b'{"":1}', b"[]", b"{}"} else 1  # an empty container counts like one with a value
    fitting = (FEW_VALUES - 2) // values
    assert len(parse_object(listed(item, fitting))["a"]) == fitting
    with pytest.raises(InvalidRequest, match=f"more than {FEW_VALUES} JSON values"):
        parse_object(listed(item, fitting + 1))


@pytest.mark.parametrize(
    "text", [b"," * (MIB - 10), b"[" * (MIB - 10), b"{" * (MIB - 10), b"\\\\" * 500_000, b'\\"' * 500_000]
)
def test_a_text_is_one_value_whatever_is_in_it(text: bytes) -> None:
    assert len(parse_object(b'{"a":"' + text + b'"}')) == 1


@pytest.mark.parametrize("item", [b"1", b'""', b"[[[[1]]]]", b'{"":{"":{}}}', b'"\\""', b'["', b'"a":1'])
def test_a_mebibyte_of_values_is_never_parsed(item: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        pytest.fail("the body was parsed")

    monkeypatch.setattr("supervisor.api.guard.json_body.json.loads", never)
    with pytest.raises(InvalidRequest, match=r"more than 50000 JSON values|nested deeper"):
        parse_object(listed(item, MIB // (len(item) + 1)), max_values=MAX_VALUES)


def test_unknown_fields_are_named_up_to_a_bound() -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate(CreateBody, {"task": "t", "input": {}, **{f"f{i}": 1 for i in range(40_000)}})
    errors = caught.value.errors
    assert errors[0].field == "f0"
    assert len(errors) == MAX_ERRORS + 1
    assert errors[-1].message == "and 39980 more"
    assert len(problem_for(caught.value).body()) < 10_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", {f"{i}!": 1 for i in range(40_000)}),
        ("labels", {"a": [[[i] for i in range(1_000)]]}),
        ("limits", {f"f{i}": 1 for i in range(40_000)}),
        ("id", [1] * 40_000),
        ("nonsense", [[1] * 400] * 100),
    ],
)
def test_no_other_field_has_many_values(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate(CreateBody, {"task": "t", "input": {}, field: value})
    (error,) = caught.value.errors
    assert (error.field, error.message) == (field, "holds more than 500 values")


def test_an_input_may_have_them() -> None:
    assert len(validate(CreateBody, {"task": "t", "input": {"a": [1] * 40_000}}).input["a"]) == 40_000


def test_long_names_and_texts_are_not_repeated() -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate(SessionBody, {"token": "x", **{str(i) + "ä" * 50_000: "y" * 50_000 for i in range(15)}})
    assert len(problem_for(caught.value).body()) < 50_000
