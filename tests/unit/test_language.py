"""Comments and docstrings are plain English: the same words for the same things, and whole sentences."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "bench",
    "deadstop",
    "runner",
    "supervisor",
    "tests",
)
PEOPLE = re.compile(r"\b(nobody|somebody|everybody|anybody|whoever|whom|told|said)\b", re.IGNORECASE)
"""Words for people: a process is started, signalled or notified."""
IS_NO = re.compile(r"(?<!\b[Tt]here )\b(is|are) no (?!longer\b|more\b|other\b)\w+")
"""Write "X is not a Y"; "there is no X" is fine."""
OPENINGS = re.compile(r"(Of|Such|Who|Whom|What|Met by)\b")
"""A docstring begins with a noun or a verb."""
RAISES = re.compile(r"\b(Raises|Returns) \w")
"""Docstrings give orders: "Return …", "Raise X if …"."""


def docstrings(source: str) -> Iterator[str]:
    """Yield the strings that stand alone as statements: those of modules, classes, functions and constants."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def comments(source: str) -> Iterator[str]:
    """Yield comments, those of consecutive lines as one. Directives for tools are left out."""
    block: list[str] = []
    last_line = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not re.match(r"#\s*(noqa|type:|---)", token.string):
            if token.start[0] != last_line + 1 and block:
                yield " ".join(block)
                block = []
            block.append(token.string.lstrip("# "))
            last_line = token.start[0]
    if block:
        yield " ".join(block)


def problems(source: str) -> list[str]:
    found = []
    for text in docstrings(source):
        found += [f"begins with {match[1]!r}: {text[:60]}" for match in [OPENINGS.match(text)] if match]
        found += [f"{match[0]!r} instead of an order: {text[:60]}" for match in RAISES.finditer(text)]
    for text in (*docstrings(source), *comments(source)):
        flat = " ".join(text.split())
        found += [f"{match[1].lower()!r}: {flat[:80]}" for match in PEOPLE.finditer(flat)]
        found += [f"{match[0]!r}: {flat[:80]}" for match in IS_NO.finditer(flat)]
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_described_in_plain_english(package: str) -> None:
    found = {
        f"{name}: {problem}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in [str(path.relative_to(ROOT))]
        for problem in problems(path.read_text(encoding="utf-8"))
    }
    assert not found, "\n".join(sorted(found))


@pytest.mark.parametrize(
    "source",
    [
        '"""What a task returned."""',
        '"""Of one job."""',
        'class Late(Exception):\n    """Met by the task that waits."""',
        'def f():\n    """Return it. Raises OSError."""',
        "x = 1  # nobody waits for it",
        'x = 1\n"""Who was told."""',
        "# A line that is\n# no frame.",
        '"""A peer is told so."""',
    ],
)
def test_what_is_not_plain_is_found(source: str) -> None:
    assert problems(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""Return the pid, or None if there is no process."""',
        '"""It is no longer needed. Raise OSError."""',
        "raise_it = 1  # the server has ended",
        'text = "nobody was told"',
        "import os  # noqa: F401",
    ],
)
def test_what_is_plain_is_left_alone(source: str) -> None:
    assert problems(source) == []
