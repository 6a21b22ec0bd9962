"""Read the arguments of a command: job IDs, labels and a task's input."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from supervisor.cli.exits import CommandError

Json = Any

TEXT_FIELDS = ("command", "prompt", "url")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def read_job_id(given: str) -> str:
    """Return the ID as given. Raise CommandError if no job can have it.

    An ID becomes part of a path, where `../tasks` would ask for something else.
    """
    if not _JOB_ID.fullmatch(given):
        raise CommandError(f'invalid job ID {given!r}: use 1 to 64 letters, digits, "_" or "-"')
    return given


def read_job_ids(given: list[str]) -> list[str]:
    return [read_job_id(job_id) for job_id in given]


def read_timeout(given: float | None) -> float | None:
    if given is not None and given <= 0:
        raise CommandError(f"invalid --timeout {given:g}: use more than 0 seconds")
    return given


def find_task(tasks: list[dict[str, Json]], name: str) -> dict[str, Json]:
    """Return the description of task `name`. Raise CommandError that names similar tasks, or all, if there is none."""
    import difflib  # noqa: PLC0415  # only a mistake needs it

    known = {str(task["name"]): task for task in tasks}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known)
    hint = f"did you mean {' or '.join(close)}?" if close else f"the server has {', '.join(sorted(known)) or 'none'}"
    raise CommandError(f"unknown task {name!r}: {hint}")


def build_input(task: dict[str, Json], text: str | None, given: dict[str, Json], *, cwd: str | None) -> dict[str, Json]:
    """Return `given` (from --input) with TEXT in its field, and with `cwd` if the task takes one and it has none."""
    properties = _properties(task)
    built = dict(given)
    if text is not None:
        field = _text_field(task, properties)
        if field in built:
            raise CommandError(f"{field} is given twice, as TEXT and in --input: leave one out")
        built[field] = text
    if cwd is not None and "cwd" in properties:
        built.setdefault("cwd", cwd)
    return built


def read_input(argument: str | None) -> dict[str, Json]:
    """Return the object in --input: JSON, `@FILE`, or `-` for stdin. Raise CommandError if it is not an object."""
    if argument is None:
        return {}
    try:
        if argument == "-":
            value = json.loads(sys.stdin.read())
        elif argument.startswith("@"):
            value = json.loads(Path(argument[1:]).read_text(encoding="utf-8"))
        else:
            value = json.loads(argument)
    except OSError as exc:
        raise CommandError(f"cannot read {argument[1:]}: {exc.strerror}") from None
    except ValueError as exc:
        raise CommandError(f"--input is not JSON: {exc}") from None
    if not isinstance(value, dict):
        raise CommandError('--input must be a JSON object such as \'{"command": "ls"}\'')
    return value


def read_labels(pairs: list[str]) -> dict[str, str]:
    """Return labels from `KEY=VALUE` arguments. Raise CommandError for one without `=`."""
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise CommandError(f"invalid --label {pair!r}: write it as KEY=VALUE")
        labels[key] = value
    return labels


def current_directory() -> str | None:
    """Return the current directory, or None if it was removed."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def signature(task: dict[str, Json]) -> str:
    """Return a task's fields in a readable form, such as `folder: string, width: integer = 320`."""
    required = set(task.get("input_schema", {}).get("required", []))
    return ", ".join(
        f"{name}: {_type_name(schema)}{'' if name in required else _default(schema)}"
        for name, schema in _properties(task).items()
    )


def _properties(task: dict[str, Json]) -> dict[str, Json]:
    properties = task.get("input_schema", {}).get("properties", {})
    return properties if isinstance(properties, dict) else {}


def _text_field(task: dict[str, Json], properties: dict[str, Json]) -> str:
    for name in TEXT_FIELDS:
        if name in properties:
            return name
    for name, schema in properties.items():
        if "string" in _types(schema):
            return name
    takes = signature(task) or "nothing"
    raise CommandError(f"task {task['name']} takes no text; its input is: {takes}")


def _types(schema: Json) -> set[str]:
    """Return the JSON types that a schema allows, as far as it names them itself."""
    if not isinstance(schema, dict):
        return set()
    named = schema.get("type", [])
    types = {named} if isinstance(named, str) else set(named)
    for option in [*schema.get("anyOf", []), *schema.get("oneOf", [])]:
        types |= _types(option)
    return types


def _type_name(schema: Json) -> str:
    types = _types(schema) - {"null"}
    return " or ".join(sorted(types)) or "any"


def _default(schema: Json) -> str:
    if isinstance(schema, dict) and "default" in schema and schema["default"] is not None:
        return f" = {json.dumps(schema['default'], ensure_ascii=False)}"
    return "?"
