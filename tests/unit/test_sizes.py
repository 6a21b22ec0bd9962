"""Files and functions stay small enough to be read at once: one that grows past this is split by idea."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("bench", "deadstop", "examples", "runner", "supervisor", "tests")
LONG_FILE, LONGEST_FILE = 240, 300
MAX_LONG_FILES = 5
LONGEST_FUNCTION = 40
"""The most lines of a function, with the docstring and without the decorators."""


def sources() -> dict[str, str]:
    """Return the text of every Python file of the repository."""
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    own = [path for path in paths if "node_modules" not in path.parts]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in own}


def longer_than(limit: int, files: dict[str, str]) -> dict[str, int]:
    lengths = {name: len(text.splitlines()) for name, text in files.items()}
    return {name: lines for name, lines in lengths.items() if lines > limit}


def long_functions(files: dict[str, str]) -> dict[str, int]:
    found = {}
    for name, text in files.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    found[f"{name}: {node.name}"] = lines
    return found


def test_at_most_a_few_files_are_long() -> None:
    files = sources()
    assert len(files) > 500
    assert longer_than(LONGEST_FILE, files) == {}
    long = longer_than(LONG_FILE, files)
    assert len(long) <= MAX_LONG_FILES, f"split one of them by idea: {long}"


def test_no_function_is_long() -> None:
    assert long_functions(sources()) == {}


@pytest.mark.parametrize("lines", [LONGEST_FUNCTION, LONGEST_FUNCTION + 1])
@pytest.mark.parametrize("start", ["def f():", "async def f():", "class C:\n  @property\n  def f(self):"])
def test_a_long_function_is_found(start: str, lines: int) -> None:
    files = {"grown.py": start + "\n   pass" * (lines - 1)}
    assert long_functions(files) == ({"grown.py: f": lines} if lines > LONGEST_FUNCTION else {})


def test_a_long_file_is_found() -> None:
    files = {"small.py": "pass\n" * LONG_FILE, "grown.py": "pass\n" * (LONG_FILE + 1)}
    assert longer_than(LONG_FILE, files) == {"grown.py": LONG_FILE + 1}
