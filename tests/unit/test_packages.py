"""Installed packages: the distributions that the product imports, and packages that load nothing before it is used."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

import deadstop
import runner

ROOT = Path(__file__).parents[2]
PACKAGES = ("supervisor", "runner", "deadstop")
TASK_NAMES = ["CommandEnded", "Context", "JobCancelled", "TaskFailed", "task"]
HEAVY = ("pydantic", "httpx", "starlette", "structlog", "rich", "typer", "asyncio", "multiprocessing", "supervisor")


def python(*lines: str) -> str:
    """Return what a child prints, whose modules are its own."""
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def imported(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name for name in found if name.split(".")[0] not in {*PACKAGES, *sys.stdlib_module_names}}


def undeclared(modules: set[str], declared: set[str]) -> set[str]:
    """Return the modules which no declared distribution has among its files. Namespaces are shared by several."""
    owners = {str(Path(str(file))): dist for dist in distributions() for file in dist.files or ()}
    return {name for name in modules if _distribution(name, owners) not in declared}


def _distribution(module: str, owners: dict[str, Distribution]) -> str | None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None, f"{module} is not installed, or only a namespace"
    depth = module.count(".") + (2 if spec.submodule_search_locations is not None else 1)
    owner = owners.get(str(Path(*Path(spec.origin).parts[-depth:])))
    return normalized(owner.name) if owner else None


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return {normalized(line) for line in lines}


def normalized(requirement: str) -> str:
    """Return the name in a requirement, as PyPI compares names."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def product_imports() -> set[str]:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {name for path in files for name in imported(ast.parse(path.read_text(encoding="utf-8")))}


def test_every_imported_distribution_is_declared() -> None:
    assert undeclared(product_imports(), declared()) == set()


@pytest.mark.parametrize("name", ["anyio", "markupsafe", "opentelemetry-api", "pydantic-core", "typing-extensions"])
def test_a_distribution_that_comes_with_another_one_must_be_declared_too(name: str) -> None:
    assert undeclared(product_imports(), declared() - {name})


def test_every_file_beside_the_code_is_installed_too() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {package: ROOT / package.replace(".", "/") for package in setuptools["package-data"] if package != "*"}
    listed = {
        path for name, at in folders.items() for line in setuptools["package-data"][name] for path in at.glob(line)
    }
    not_data = {".py", ".pyc", ".typed", ".md"}  # pages beside the code are for those who have the repository
    files = {path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    assert {path for path in files if path.suffix not in not_data} == {path for path in listed if path.is_file()}


def test_importing_the_public_package_loads_nothing_heavy() -> None:
    script = f"import sys; import deadstop; print([name for name in {HEAVY} if name in sys.modules])"
    assert python(script) == "[]\n"
    assert python(script.replace("import deadstop", "from deadstop import Context")) != "[]\n"


def test_the_protocol_comes_without_what_a_task_needs() -> None:
    tasks_need = ("runner.context", "runner.loading", "runner.resources", "ptyprocess", "playwright")
    script = f"import sys; import runner.protocol; print([name for name in {tasks_need} if name in sys.modules])"
    assert python(script) == "[]\n"


@pytest.mark.parametrize("package", ["deadstop", "runner"])
def test_names_are_the_same_in_both_packages(package: str) -> None:
    names = ", ".join(TASK_NAMES)
    assert python(f"from {package} import {names}", "import runner.context", "print(Context is runner.context.Context)")
    assert deadstop.__all__ == runner.__all__ == TASK_NAMES
    module = sys.modules[package]
    assert all(getattr(module, name) is getattr(runner, name) for name in TASK_NAMES)
    assert set(TASK_NAMES) <= set(dir(module))
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Sandwich'"):
        _ = module.Sandwich


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_marked_as_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.skipif(shutil.which("git") is None, reason="lists what git knows")
def test_the_top_level_has_no_clutter() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    names = {line.split("/")[0] for line in listed.stdout.splitlines()}
    folders = {*PACKAGES, "tests", "bench", "docs", "examples", "ops", "requirements", "scripts", ".ci"}
    files = {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "pyproject.toml", ".gitignore"}
    assert names == folders | files | {"run_api.sh", "run_tests.sh"}
