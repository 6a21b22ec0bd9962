"""The pages name only what exists: their links, the paths in them, and the names of code in the pages of design."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.config import Settings

ROOT = Path(__file__).parents[2]
CODE = ("supervisor", "runner", "deadstop")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(p for c in CODE for p in (ROOT / c).rglob("*.md"))]
)
DESIGN = [page for page in PAGES if page.name in {"DESIGN.md", "architecture.md"}]

FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
BACKTICKS = re.compile(r"`([^`\n]+)`")
TOP = "supervisor|runner|deadstop|tests|scripts|bench|docs|examples|ops|requirements"
FOLDER = rf"(?:{TOP}|core|node|guardian|engine|api|cli)"
PATH = re.compile(rf"(?<![\w./~$-])(?:\./|\.\./)*(?:{FOLDER}/[\w./*{{}},-]*|[\w-]+\.(?:py|md|sh|yml|service))(?![\w/])")
WHERE = re.compile(r"`(\w+)(?:\.\w+)?(?:\(\))?`\s+(?:in|of|\()\s*`([\w/.]+\.py)`")
NAMES = re.compile(r"`([A-Z]\w+)\.(\w+)(?:\(\))?`|`([A-Z][a-z]\w+)`")


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(text: str, page: Path) -> list[str]:
    broken = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    return broken


def spelled_out(path: str) -> list[str]:
    """`a/{b,c}` as two paths."""
    parts = re.fullmatch(r"([^{}]*)\{([^{}]*)\}([^{}]*)", path)
    return [path] if parts is None else [f"{parts[1]}{each}{parts[3]}" for each in parts[2].split(",")]


def found(path: str, page: Path) -> Path | None:
    """Where a path leads that is named on a page, if anywhere."""
    places = [ROOT, ROOT / "supervisor", page.parent]
    if page.name == "DESIGN.md" and "/" not in path:
        path = f"**/{path}"  # the page's map says in which folder
        places = [page.parent]
    return next((file for place in places for file in place.glob(path)), None)


def missing_paths(text: str, page: Path) -> list[str]:
    """Paths in backticks that look like the repository's own, from its top, from `supervisor/` or beside the page."""
    named = (path for span in BACKTICKS.findall(text) for path in PATH.findall(span))
    paths = (each.removeprefix("./").rstrip("./,") for path in named for each in spelled_out(path))
    return [path for path in paths if found(path, page) is None]


@functools.cache
def defined() -> dict[str, set[str]]:
    """The classes and functions of the product, each with what is defined or assigned in it."""
    found: dict[str, set[str]] = {}
    for path in (path for package in CODE for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.setdefault(node.name, set()).update(members(node))
    return found


def members(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            yield inner.name
        elif isinstance(inner, ast.AnnAssign | ast.Assign):
            for target in inner.targets if isinstance(inner, ast.Assign) else [inner.target]:
                if isinstance(target, ast.Name | ast.Attribute):
                    yield target.id if isinstance(target, ast.Name) else target.attr


def definition(name: str) -> str:
    return rf"\b(?:def|class) {name}\b|^{name}\b.*=|\bself\.{name}\b"


def misplaced_names(text: str, page: Path) -> list[str]:
    """Names that their file does not define: `name` in `file.py`, `name` of `file.py`, `name` (`file.py`)."""
    files = ((name, path, found(path, page)) for name, path in WHERE.findall(text))
    return [
        f"{name} in {path}"
        for name, path, file in files
        if file is None or not re.search(definition(name), file.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def unknown_names(text: str) -> list[str]:
    """`Class.member` and `Class` in backticks that the code does not have. Exceptions of Python itself are known."""
    unknown = []
    for owner, member, alone in NAMES.findall(text):
        name = owner or alone
        if name not in defined() or (member and member not in defined()[name]):
            unknown.append(f"{name}.{member}" if member else name)
    return unknown


def titles(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


@pytest.mark.parametrize("page", PAGES, ids=titles(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    assert not broken_links(prose(page), page)


@pytest.mark.parametrize("page", PAGES, ids=titles(PAGES))
def test_paths_exist(page: Path) -> None:
    assert not missing_paths(prose(page), page)


@pytest.mark.parametrize("page", DESIGN, ids=titles(DESIGN))
def test_pages_of_design_name_what_the_code_has(page: Path) -> None:
    assert not unknown_names(prose(page))
    assert not misplaced_names(prose(page), page)


def unlisted_suites(text: str) -> list[str]:
    """Files with tests that are marked `suite` and that no command in the text starts, alone or by their folder."""
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "mark.suite" in path.read_text(encoding="utf-8")]
    files = [path for path in marked if path != Path(__file__)]
    starts = [
        (str(path.relative_to(ROOT)), f"{path.parent.relative_to(ROOT)} ", f"scripts/{path.parent.name}")
        for path in files
    ]
    return sorted(names[0] for names in starts if not any(name in text for name in names))


def test_every_suite_is_in_the_list() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert not unlisted_suites(text)
    assert unlisted_suites(text.replace("tests/api/test_kills.py", "")) == ["tests/api/test_kills.py"]


def test_the_page_of_settings_has_each_of_them() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`DEADSTOP_([A-Z_]+)`", text)) == {name.upper() for name in Settings.model_fields}


def test_what_is_wrong_is_found() -> None:
    page = ROOT / "docs" / "tried.md"
    text = (
        "[a](tasks.md) [b](gone.md) [c](tasks.md#input) [d](tasks.md#gone) [e](https://x.test/gone.md) "
        "`tests/unit/test_pages.py -q` `tests/unit/test_gone.py` `supervisor/{config,gone}.py` `ops/*.gone` "
        "`core/jobs/machine.py` `core/gone.py` `gone.py` `~/docs/gone.md` "
        "`Supervisor.submit()` `Supervisor.gone` `Gonelike`"
    )
    assert broken_links(text, page) == ["gone.md", "tasks.md#gone"]
    assert missing_paths(text, page) == [
        "tests/unit/test_gone.py",
        "supervisor/gone.py",
        "ops/*.gone",
        "core/gone.py",
        "gone.py",
    ]
    assert unknown_names(text) == ["Supervisor.gone", "Gonelike"]
    places = "`step` (`core/jobs/machine.py`) `gone` in `core/jobs/machine.py` `Job.gone` of\n`core/gone.py`"
    assert misplaced_names(places, page) == ["gone in core/jobs/machine.py", "Job in core/gone.py"]
