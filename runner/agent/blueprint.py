"""The application that the demo model writes: a JSON service over SQLite with one package for each kind of record.

It needs nothing but Python, and its own tests pass: what the demo shows is real work, small enough to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
    """A step of the plan: what to say of it, and the files it consists of, as (path, content)."""

    words: str
    files: tuple[tuple[str, str], ...]


def parts() -> Iterator[Part]:
    """All of the application, in the order in which it is written."""
    yield Part("First the foundation: a database, a small web framework and a way to start it.", _foundation())
    for name, fields in RECORDS.items():
        yield Part(f"Next {name}: the record, its table, its routes and its tests.", _package(name, fields))
    yield Part("Last the entry point that joins the packages, and a README.", _entry())


def _foundation() -> tuple[tuple[str, str], ...]:
    return (
        (f"{FOLDER}/application/__init__.py", '"""A JSON service over SQLite."""\n'),
        (f"{FOLDER}/application/database.py", _DATABASE),
        (f"{FOLDER}/application/web.py", _WEB),
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
        (f"{package}/record.py", _RECORD.substitute(values)),
        (f"{package}/table.py", _TABLE.substitute(values)),
        (f"{package}/routes.py", _ROUTES.substitute(values)),
        (f"{FOLDER}/tests/test_{name}.py", _TEST.substitute(values)),
    )


def _entry() -> tuple[tuple[str, str], ...]:
    imports = "\n".join(f"from application.{name} import routes as {name}" for name in sorted(RECORDS))
    packages = "\n".join(f"    {name}," for name in RECORDS)
    paths = "\n".join(f"- `/{name}`, `/{name}/1`" for name in RECORDS)
    return (
        (f"{FOLDER}/application/__main__.py", _MAIN.substitute(imports=imports, packages=packages)),
        (f"{FOLDER}/README.md", _README.substitute(paths=paths)),
    )


_DATABASE = '''"""One SQLite file, or one in memory for tests."""

import sqlite3


def connect(path=":memory:"):
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    return connection
'''

_WEB = '''"""Routes by method and first part of the path; everything in and out is JSON."""

import json


class NotFound(Exception):
    """There is no such record or route."""


class Service:
    """A WSGI application."""

    def __init__(self):
        self._packages = {}

    def add(self, name, handle):
        self._packages[name] = handle

    def answer(self, method, path, body=None):
        name, _, key = path.strip("/").partition("/")
        if name not in self._packages:
            raise NotFound(path)
        return self._packages[name](method, key, body)

    def __call__(self, environ, start_response):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = json.loads(environ["wsgi.input"].read(length)) if length else None
        try:
            status, found = "200 OK", self.answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], body)
        except NotFound as missing:
            status, found = "404 Not Found", {"error": f"there is no {missing}"}
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(found).encode()]
'''

_RECORD = Template('''"""One of the $name."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class $Record:
$fields

    def to_json(self):
        return asdict(self)
''')

_TABLE = Template('''"""The table of $name."""

from application.$name.record import $Record

COLUMNS = ($columns)


class Table:
    def __init__(self, connection):
        self._connection = connection
        columns = ", ".join(f"{column} TEXT NOT NULL" for column in COLUMNS)
        connection.execute(f"CREATE TABLE IF NOT EXISTS $name (id INTEGER PRIMARY KEY, {columns})")

    def add(self, record):
        places = ", ".join("?" for _ in COLUMNS)
        values = [getattr(record, column) for column in COLUMNS]
        with self._connection:
            return self._connection.execute(
                f"INSERT INTO $name ({', '.join(COLUMNS)}) VALUES ({places})", values
            ).lastrowid

    def get(self, number):
        row = self._connection.execute("SELECT * FROM $name WHERE id = ?", (number,)).fetchone()
        return None if row is None else $Record(*(row[column] for column in COLUMNS))

    def all(self):
        rows = self._connection.execute("SELECT * FROM $name ORDER BY id")
        return {row["id"]: $Record(*(row[column] for column in COLUMNS)) for row in rows}

    def remove(self, number):
        with self._connection:
            return self._connection.execute("DELETE FROM $name WHERE id = ?", (number,)).rowcount == 1
''')

_ROUTES = Template('''"""GET, POST and DELETE of $name."""

from application.$name.record import $Record
from application.$name.table import Table
from application.web import NotFound


def install(service, connection):
    table = Table(connection)

    def handle(method, key, body):
        if method == "POST" and not key:
            return {"id": table.add($Record(**body))}
        if method == "GET" and not key:
            return {number: record.to_json() for number, record in table.all().items()}
        record = table.get(int(key)) if key.isdigit() else None
        if record is None:
            raise NotFound(f"$name/{key}")
        if method == "DELETE":
            return {"removed": table.remove(int(key))}
        return record.to_json()

    service.add("$name", handle)
''')

_TEST = Template("""import unittest

from application.$name import routes
from application.database import connect
from application.web import NotFound, Service

SAMPLE = {$sample}


class $Record(unittest.TestCase):
    def setUp(self):
        self.connection = connect()
        self.addCleanup(self.connection.close)
        self.service = Service()
        routes.install(self.service, self.connection)

    def test_what_was_added_is_found(self):
        number = self.service.answer("POST", "/$name", SAMPLE)["id"]
        self.assertEqual(self.service.answer("GET", f"/$name/{number}"), SAMPLE)
        self.assertEqual(self.service.answer("GET", "/$name"), {number: SAMPLE})

    def test_what_was_removed_is_not(self):
        number = self.service.answer("POST", "/$name", SAMPLE)["id"]
        self.assertEqual(self.service.answer("DELETE", f"/$name/{number}"), {"removed": True})
        with self.assertRaises(NotFound):
            self.service.answer("GET", f"/$name/{number}")
""")

_MAIN = Template('''"""python3 -m application [FILE]: serve on http://127.0.0.1:8080, with the database in FILE."""

import sys
from wsgiref.simple_server import make_server

$imports
from application.database import connect
from application.web import Service

PACKAGES = (
$packages
)


def build(connection):
    service = Service()
    for package in PACKAGES:
        package.install(service, connection)
    return service


if __name__ == "__main__":
    make_server("127.0.0.1", 8080, build(connect(*sys.argv[1:2]))).serve_forever()
''')

_README = Template("""# Application

A JSON service over SQLite, with nothing but Python:

    python3 -m application data.sqlite
    python3 -m unittest discover --start-directory tests --top-level-directory .

GET and POST on the first, GET and DELETE on the second of:

$paths
""")
