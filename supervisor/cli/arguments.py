"""From the words on the command line to a task's input."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import Any

from supervisor.cli.exits import CommandError

Json = Any

TEXT_FIELDS = ("command", "prompt", "url")


def find_task(tasks: list[dict[str, Json]], name: str) -> dict[str, Json]:
    """The description of task `name`. Raises CommandError naming the closest ones, else all."""
    known = {str(task["name"]): task for task in tasks}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(sorted(known)) or 'none'}"
    raise CommandError(f"unknown task {name!r}: {hint}")


def build_input(task: dict[str, Json], text: str | None, given: dict[str, Json], *, cwd: str | None) -> dict[str, Json]:
    """`given` (from --input), with TEXT at its field, and `cwd` where the task takes one and the user gave none."""
    properties = _properties(task)
    built = dict(given)
    if text is not None:
        field = _text_field(task, properties)
        if field in built:
            raise CommandError(f"{field} is given twice: as TEXT and in --input")
        built[field] = text
    if cwd is not None and "cwd" in properties:
        built.setdefault("cwd", cwd)
    return built


def read_input(argument: str | None) -> dict[str, Json]:
    """The object in --input: JSON itself, `@FILE`, or `-` for stdin. Raises CommandError when it is none."""
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
    """Labels from `KEY=VALUE` words. Raises CommandError for one without `=`."""
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise CommandError(f"--label {pair!r}: write it as KEY=VALUE")
        labels[key] = value
    return labels


def current_directory() -> str | None:
    """Where the user is; None when that directory was removed under him."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def signature(task: dict[str, Json]) -> str:
    """A task's fields as a person reads them: `folder: string, width: integer = 320`."""
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
    """The JSON types that a schema allows, as far as it says so itself."""
    if not isinstance(schema, dict):
        return set()
    said = schema.get("type", [])
    types = {said} if isinstance(said, str) else set(said)
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
