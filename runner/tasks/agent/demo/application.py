"""The application that the demo model writes: a JSON service over SQLite with one package for each kind of record.

It needs nothing but Python, and its own tests pass: the demo shows real work that is small enough to read. The text of
its files is in `templates/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from string import Template

FOLDER = "application"
TEST_COMMAND = f"cd {FOLDER} && python3 -B -m unittest discover --quiet --start-directory tests --top-level-directory ."

RECORDS: dict[str, tuple[str, ...]] = {
    "customers": ("name", "email", "city"),
    "suppliers": ("name", "country", "contact"),
    "products": ("title", "sku", "price"),
    "warehouses": ("name", "address", "capacity"),
    "orders": ("customer", "product", "quantity"),
    "invoices": ("order_number", "total", "due"),
    "payments": ("invoice", "amount", "method"),
    "shipments": ("order_number", "carrier", "tracking"),
    "reviews": ("product", "rating", "comment"),
    "employees": ("name", "role", "office"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A step of the plan: its announcement, and its files as (path, content)."""

    words: str
    files: tuple[tuple[str, str], ...]


def parts() -> Iterator[Part]:
    yield Part("First the foundation: a database, a small web framework and a way to start it.", _foundation())
    for name, fields in RECORDS.items():
        yield Part(f"Next {name}: the record, its table, its routes and its tests.", _package(name, fields))
    yield Part("Last the entry point that joins the packages, and a README.", _entry())


def _foundation() -> tuple[tuple[str, str], ...]:
    return (
        (f"{FOLDER}/application/__init__.py", '"""A JSON service over SQLite."""\n'),
        (f"{FOLDER}/application/database.py", _template("database.py", {})),
        (f"{FOLDER}/application/web.py", _template("web.py", {})),
        (f"{FOLDER}/tests/__init__.py", ""),
    )


def _package(name: str, fields: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    values = {
        "name": name,
        "Record": name.removesuffix("s").capitalize(),
        "fields": "\n".join(f"    {field}: str" for field in fields),
        "columns": ", ".join(f'"{field}"' for field in fields),
        "sample": ", ".join(f'"{field}": "some {field}"' for field in fields),
    }
    package = f"{FOLDER}/application/{name}"
    return (
        (f"{package}/__init__.py", f'"""{name.capitalize()}: the record, its table and its routes."""\n'),
        (f"{package}/record.py", _template("record.py", values)),
        (f"{package}/table.py", _template("table.py", values)),
        (f"{package}/routes.py", _template("routes.py", values)),
        (f"{FOLDER}/tests/test_{name}.py", _template("test.py", values)),
    )


def _entry() -> tuple[tuple[str, str], ...]:
    imports = "\n".join(f"from application.{name} import routes as {name}" for name in sorted(RECORDS))
    packages = "\n".join(f"    {name}," for name in RECORDS)
    paths = "\n".join(f"- `/{name}`, `/{name}/1`" for name in RECORDS)
    return (
        (f"{FOLDER}/application/__main__.py", _template("main.py", {"imports": imports, "packages": packages})),
        (f"{FOLDER}/README.md", _template("readme.md", {"paths": paths})),
    )


def _template(name: str, values: dict[str, str]) -> str:
    text = (files(__package__) / "templates" / f"{name}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(values)
