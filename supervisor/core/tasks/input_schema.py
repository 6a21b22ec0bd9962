"""Check inputs against a task's JSON Schema, with a limit on the work.

jsonschema walks the schema. Keywords that it checks in more than linear time, or with Python's regular expressions, are
replaced here. Every keyword is a step of the pace, so no schema and no input can occupy a thread for long.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from supervisor.core.jobs.model import Json
from supervisor.core.tasks import patterns
from supervisor.core.tasks.input_errors import explain, extra_names, name_fits
from supervisor.core.tasks.input_formats import format_checker
from supervisor.core.tasks.pace import allowance, step
from supervisor.errors import FieldError

MAX_FOUND = 200
"""Limit for the errors that are collected. There may be one for each value of the input."""
MAX_PER_CHOICE = 10
"""Limit for the errors in one of several alternatives."""

_FORMATS = format_checker()
_Errors = Iterator[ValidationError]
_Keyword = Callable[[Any, Any, Any, Any], Any]


class InputSchema:
    """Checks inputs of one task. Raise jsonschema's SchemaError if the schema is not valid."""

    def __init__(self, schema: dict[str, Json]) -> None:
        # Formats are not checked: "regex" would mean Python's, which differs from the engine that is used here.
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(formats=()))
        _refuse_unevaluated(schema)
        self._validator = _Validator(schema, format_checker=_FORMATS, registry=Registry())

    def errors(self, values: dict[str, Json], allowance_s: float) -> tuple[list[FieldError], bool]:
        """Return the first errors, sorted by field, and whether there may be more. Raise TooCostly at the limit."""
        with allowance(allowance_s):
            try:
                found = list(islice(self._validator.iter_errors(values), MAX_FOUND))
            except RecursionError:
                return [FieldError("input", "is nested deeper than this task's schema can be followed")], False
            except Unresolvable as exc:
                return [FieldError("task", f"its schema has a reference that leads nowhere: {exc}")], False
            found.sort(key=lambda error: [str(part) for part in error.path])
            explained = [field for error in found for field in explain(error)]
        return list(dict.fromkeys(explained)), len(found) == MAX_FOUND


def _refuse_unevaluated(schema: dict[str, Json]) -> None:
    """Reject a keyword for which jsonschema checks `patternProperties` with Python's regular expressions."""
    waiting: list[Json] = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if isinstance(part.get("unevaluatedProperties"), dict | bool):
                raise SchemaError("`unevaluatedProperties` is not supported; use `additionalProperties`")
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> _Errors:
    if not isinstance(instance, str):
        return
    step(heavy=True)
    if patterns.is_too_long(pattern, instance):
        yield ValidationError(
            f"is too long to match {_shortened(pattern)!r}: at most {patterns.MAX_COUNTED_TEXT} characters"
        )
    elif not patterns.fits(pattern, instance):
        yield ValidationError(f"{_shortened(instance)!r} does not match {_shortened(pattern)!r}")


def _pattern_properties(validator: Any, by_pattern: dict[str, Any], instance: Any, _schema: Any) -> _Errors:
    if isinstance(instance, dict):
        for pattern, schema in by_pattern.items():
            for name, value in instance.items():
                if name_fits(pattern, name):
                    yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> _Errors:
    if not isinstance(instance, dict):
        return
    extra = extra_names(instance, schema)
    if isinstance(allowed, dict):
        for name in extra:
            yield from validator.descend(instance[name], allowed, path=name)
    elif allowed is False and next(extra, None) is not None:
        yield ValidationError("has fields that are not known")


def _unique_items(_validator: Any, wanted: bool, instance: Any, _schema: Any) -> _Errors:
    if not wanted or not isinstance(instance, list):
        return
    step(heavy=True)
    seen: set[str] = set()
    for item in instance:
        text = json.dumps(item, sort_keys=True)
        if text in seen:
            yield ValidationError("has an item twice")
            return
        seen.add(text)


def _enum(validator: Any, choices: list[Any], instance: Any, schema: Any) -> _Errors:
    if isinstance(instance, str):
        if instance not in choices:
            yield ValidationError("is not one of the choices")
    else:
        yield from Draft202012Validator.VALIDATORS["enum"](validator, choices, instance, schema)


def _any_of(validator: Any, choices: list[Any], instance: Any, _schema: Any) -> _Errors:
    context: list[ValidationError] = []
    for index, choice in enumerate(choices):
        errors = _first_errors(validator, choice, instance, index)
        if not errors:
            return
        context += errors
    yield ValidationError("fits none of the alternatives", context=context)


def _one_of(validator: Any, choices: list[Any], instance: Any, _schema: Any) -> _Errors:
    found = [_first_errors(validator, choice, instance, index) for index, choice in enumerate(choices)]
    fitting = sum(not errors for errors in found)
    if fitting == 0:
        yield ValidationError("fits none of the alternatives", context=[error for errors in found for error in errors])
    elif fitting > 1:
        yield ValidationError(f"fits {fitting} alternatives, and must fit exactly one")


def _first_errors(validator: Any, choice: Any, instance: Any, index: int) -> list[ValidationError]:
    return list(islice(validator.descend(instance, choice, schema_path=index), MAX_PER_CHOICE))


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else text[:97] + "..."


def _stepping(check: _Keyword) -> _Keyword:
    def stepping(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        step()
        return check(validator, value, instance, schema)

    return stepping


_OWN: dict[str, _Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
    "enum": _enum,
    "anyOf": _any_of,
    "oneOf": _one_of,
}
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {name: _stepping(check) for name, check in {**Draft202012Validator.VALIDATORS, **_OWN}.items()},
)
