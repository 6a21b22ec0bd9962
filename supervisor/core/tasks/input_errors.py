"""Explain errors in a task's input by its fields, for people who do not know the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from jsonschema.exceptions import ValidationError

from supervisor.core.jobs.model import Json
from supervisor.core.tasks import patterns
from supervisor.core.tasks.pace import step
from supervisor.errors import FieldError

MAX_NAMES = 20
"""Limit for the names that an object lacks, or has and should not."""


def explain(error: ValidationError) -> list[FieldError]:
    """Return the fields that the error is about, with explanations."""
    where = ".".join(["input", *(str(part) for part in error.absolute_path)])
    expected: Any = error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    match error.validator:
        case "required":
            missing = [name for name in expected if name not in instance]
            return [FieldError(f"{where}.{name}", "is required") for name in missing[:MAX_NAMES]]
        case "additionalProperties" if isinstance(instance, dict):
            known = schema.get("properties", {})
            extra = islice(extra_names(instance, schema), MAX_NAMES)
            hint = f"; known fields: {', '.join(known)}" if known else ""
            return [FieldError(f"{where}.{name}", f"is not a field of this task{hint}") for name in extra]
        case "type":
            return [FieldError(where, f"must be {_types(expected)}, not {_short(instance)}")]
        case "anyOf" | "oneOf":
            return _explain_choice(error, where)
        case "format":
            return [FieldError(where, f"is no {expected}: {error.cause}")]
        case "enum":
            return [FieldError(where, f"must be one of {', '.join(map(_short, expected))}")]
        case "const":
            return [FieldError(where, f"must be {_short(expected)}")]
        case _:
            return [FieldError(where, error.message if len(error.message) < 300 else f"fails {error.validator}")]


def _explain_choice(error: ValidationError, where: str) -> list[FieldError]:
    expected: Any = error.validator_value
    keys = [choice.get("required", [None])[0] for choice in expected]
    if all(keys) and isinstance(error.instance, dict):
        # The alternatives differ by their required field, such as shell's command or argv.
        given = [key for key in keys if error.instance.get(key) is not None]
        if len(given) != 1:
            named = " and ".join(given) or "none"
            return [
                FieldError(
                    f"{where}.{given[0] if given else keys[0]}", f"give exactly one of {', '.join(keys)}; got {named}"
                )
            ]
    wanted = [choice.get("type") for choice in expected]
    if all(isinstance(name, str) for name in wanted) and all(
        sub.validator == "type" and not sub.relative_path for sub in error.context or []
    ):
        return [FieldError(where, f"must be {_types(wanted)}, not {_short(error.instance)}")]
    # Otherwise the alternative that matches best gives the clearest error.
    furthest = max(error.context or [], key=lambda sub: (len(sub.absolute_path), sub.validator != "type"), default=None)
    return [FieldError(where, error.message)] if furthest is None else explain(furthest)


def _types(value: str | list[str]) -> str:
    return value if isinstance(value, str) else " or ".join(value)


def _short(value: Json) -> str:
    step(heavy=True)  # the value may be the whole input, once for each level of it
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def extra_names(instance: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Yield the names that the schema does not define."""
    known, by_pattern = schema.get("properties", {}), schema.get("patternProperties", {})
    for name in instance:
        if name not in known and not any(name_fits(pattern, name) for pattern in by_pattern):
            yield name


def name_fits(pattern: str, name: str) -> bool:
    step(heavy=True)
    return not patterns.is_too_long(pattern, name) and patterns.fits(pattern, name)
