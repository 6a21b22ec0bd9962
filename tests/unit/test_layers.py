"""Imports run one way: the folder listing is the architecture, and this holds it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARROWS: dict[str, set[str]] = {
    "supervisor.cli": {"deadstop.client", "supervisor.server"},
    "supervisor.server": {"supervisor.api", "supervisor.core", "supervisor.node"},
    "supervisor.api": {"supervisor.core", "supervisor.engine"},
    "supervisor.core": {"supervisor.engine"},
    "supervisor.engine": set(),
    "supervisor.node": {"supervisor.engine", "supervisor.guardian", "runner"},
    "supervisor.guardian": {"runner"},
    "runner": set(),
}
"""Allowed imports of each package: cli → deadstop.client, api → core → engine ← node → guardian → runner."""
CORE_PARTS: dict[str, set[str]] = {
    "supervisor.core.jobs": {"journal.rows"},
    "supervisor.core.journal": {"jobs"},
    "supervisor.core.loop": set(),
    "supervisor.core.tasks": {"jobs"},
    "supervisor.core.streams": {"jobs", "journal", "loop"},
    "supervisor.core.telemetry": {"jobs", "journal", "loop", "running", "tasks"},
    "supervisor.core.running": {"jobs", "journal", "loop", "streams.leases", "tasks", "telemetry.transition_log"},
}
"""The same inside core."""
OTHER_MACHINES = {"ctypes", "fcntl", "multiprocessing", "psutil", "resource", "select", "signal", "subprocess"}
"""Modules that core must not import, because it handles no processes and no descriptors."""
API_ORDER = [
    f"supervisor.api.{name}" for name in ("schemas", "guard", "endpoint", "web", "docs", "handlers", "endpoints", "app")
]
FOR_ALL = {"supervisor"} | {
    f"supervisor.{name}"
    for name in (
        "background", "boot", "config", "errors", "faults", "logs", "settings", "state_lock", "tokens"
    )
}  # fmt: skip
CLIENT_NEEDS = {"deadstop", "httpx"}
"""Beside the standard library."""
FOREIGN = re.compile(r"(^|_)(pid|pids|fd|fds|pidfd|descriptor|path|paths)(_|$)")
FORBIDDEN_IN_CHILDREN = {"starlette", "uvicorn", "sse_starlette", "structlog"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path, *, nested: bool) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if nested else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def place(name: str, order: list[str]) -> int | None:
    """Where the package of a module stands in the order."""
    return next((order.index(package) for package in order if name == package or name.startswith(package + ".")), None)


def test_the_runner_imports_nothing_of_the_supervisor() -> None:
    for path in modules("runner"):
        guilty = {name for name in imports(path, nested=True) if name.split(".")[0] == "supervisor"}
        assert not guilty, f"{path}: {guilty}"


def test_the_public_package_imports_only_what_a_task_module_needs() -> None:
    for path in modules("deadstop"):
        used = {name for name in imports(path, nested=True) if name.split(".")[0] in {"supervisor", "runner"}}
        assert all(name.split(".")[0] == "runner" for name in used), f"{path}: {used}"


def test_the_client_needs_nothing_of_the_server_and_nothing_of_a_command_line() -> None:
    for path in modules("deadstop/client"):
        used = imports(path, nested=True)
        strange = {name for name in used if name.split(".")[0] not in sys.stdlib_module_names | CLIENT_NEEDS}
        assert not strange, f"{path}: {strange}"
        own = {name for name in used if name.split(".")[0] == "deadstop"}
        assert all(name.startswith(("deadstop.client", "deadstop.folders")) for name in own), f"{path}: {own}"
        words = {
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Name | ast.Attribute)
        }
        assert not words & {"print", "exit", "_exit", "SystemExit", "stdout", "stderr"}, path


def test_only_the_command_line_uses_the_client() -> None:
    for path in [*modules("supervisor"), *modules("runner")]:
        used = {name for name in imports(path, nested=True) if name.startswith("deadstop")}
        if path.is_relative_to(ROOT / "supervisor" / "cli"):
            assert all(name.startswith("deadstop.client") for name in used), f"{path}: {used}"
        else:
            assert all(name.startswith("deadstop.folders") for name in used), f"{path}: {used}"


def test_the_supervisor_knows_of_the_runner_only_how_to_talk_to_it() -> None:
    allowed = ("runner.protocol", "runner.codec", "runner.posix", "runner.reporter", "runner.text", "runner.main")
    for path in modules("supervisor"):
        used = {name for name in imports(path, nested=True) if name.split(".")[0] == "runner" and name != "runner"}
        assert all(name.startswith(allowed) for name in used), f"{path}: {used}"


@pytest.mark.parametrize("package", ARROWS)
def test_imports_follow_the_arrows(package: str) -> None:
    for path in files_of(package):
        for name in imports(path, nested=True):
            if name.split(".")[0] not in {"supervisor", "runner", "deadstop"} or within(
                name, {package, *ARROWS[package]}
            ):
                continue
            known = (ROOT / name.replace(".", "/")).exists() or (ROOT / (name.replace(".", "/") + ".py")).exists()
            module = name if known else name.rpartition(".")[0]
            assert module in FOR_ALL or name == "runner", f"{path} imports {name}"


@pytest.mark.parametrize("part", CORE_PARTS)
def test_the_parts_of_core_follow_their_arrows(part: str) -> None:
    allowed = {part, *(f"supervisor.core.{name}" for name in CORE_PARTS[part])}
    for path in files_of(part):
        names = imports(path, nested=True)
        for name in names:
            is_folder_of_another = any(other.startswith(name + ".") for other in names)
            if name.startswith("supervisor.core.") and not is_folder_of_another:
                assert within(name, allowed), f"{path} imports {name}"


def test_core_knows_no_process_path_descriptor_or_signal() -> None:
    """Read from its imports and its annotations. The journal is a file of the server's own."""
    for path in modules("supervisor/core"):
        guilty = {name for name in imports(path, nested=True) if name.split(".")[0] in OTHER_MACHINES}
        assert not guilty, f"{path}: {guilty}"
        if "journal" not in path.parts:
            assert not foreign_names(ast.parse(path.read_text(encoding="utf-8"))), path


def foreign_names(tree: ast.Module) -> list[str]:
    """Annotated names that speak of a process, a descriptor or a place on a disk."""
    named: list[tuple[str, ast.expr | None]] = []
    for node in [each for top in tree.body if not is_for_people(top) for each in ast.walk(top)]:
        if isinstance(node, ast.arg):
            named.append((node.arg, node.annotation))
        elif isinstance(node, ast.AnnAssign):
            named.append((ast.unparse(node.target).rpartition(".")[2], node.annotation))
    return [
        name
        for name, annotation in named
        if FOREIGN.search(name) or (annotation is not None and "Path" in ast.unparse(annotation))
    ]


def is_for_people(node: ast.stmt) -> bool:
    """JSON that goes out shows survivors by pid."""
    return isinstance(node, ast.ClassDef) and node.name.endswith("Json")


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def files_of(package: str) -> list[Path]:
    folder = package.replace(".", "/")
    return modules(folder) if (ROOT / folder).is_dir() else [ROOT / f"{folder}.py"]


def test_the_parts_of_the_api_import_only_lower_ones() -> None:
    for path in modules("supervisor/api"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        mine = place(name, API_ORDER)
        for imported in imports(path, nested=True):
            theirs = place(imported, API_ORDER)
            if mine is not None and theirs is not None:
                assert theirs <= mine, f"{path} imports {imported}"


def test_what_is_forked_with_jobs_is_light() -> None:
    for path in [*modules("runner"), *modules("supervisor/guardian")]:
        heavy = {name for name in imports(path, nested=False) if name.split(".")[0] in FORBIDDEN_IN_CHILDREN}
        assert not heavy, f"{path}: {heavy}"


def test_benches_run_without_what_only_tests_need() -> None:
    """Their environment has matplotlib and the product's own packages, and no pytest."""
    names = [f"bench.{path.stem}" for path in modules("bench")]
    script = f"import sys; sys.modules['pytest'] = None; [__import__(name) for name in {names!r}]"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
