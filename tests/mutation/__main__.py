"""Change each target, one change at a time, run its tests, and print the score and what went unnoticed.

Run it in a clone: files are changed where they are. See scripts/mutation.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.targets import EXPLAINED, LEAVE_OUT, TARGETS, Target

WANTED = 0.9
TIMEOUT_S = {True: 20, False: 60}
"""By `light`. A change that makes a loop endless costs the whole of it."""
PYTEST = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider")
LIGHT = ("env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", *PYTEST, "-p", "pytest_timeout", "--noconftest")
"""Plugins take longer to import than light tests take; pytest_timeout is the one that pyproject.toml configures."""
CONFIG = """
[cosmic-ray]
module-path = {module}
timeout = {timeout}
excluded-modules = []
test-command = {command}

[cosmic-ray.distributor]
name = "local"

[cosmic-ray.filters.operators-filter]
exclude-operators = {leave_out}
"""


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one module. `unnoticed` has a line of the diff for each change that no test noticed."""

    module: str
    changes: int
    unnoticed: list[str]

    @property
    def unexplained(self) -> list[str]:
        """The unnoticed changes that targets.py does not explain."""
        return [line for line in self.unnoticed if line not in EXPLAINED]

    @property
    def noticed(self) -> float:
        """The share of all changes that tests noticed."""
        return 1.0 if self.changes == 0 else 1 - len(self.unnoticed) / self.changes


def main(names: list[str]) -> int:
    """Return 1 when a module has less than WANTED, or a change that went unnoticed is not explained."""
    wanted = [target for target in TARGETS if not names or target.name in names or target.module in names]
    if unknown := set(names) - {name for target in TARGETS for name in (target.name, target.module)}:
        print(f"mutation: cannot find {sorted(unknown)}; there are: {', '.join(one.name for one in TARGETS)}")
        return 2
    scores = []
    for target in wanted:
        score = changed(target, Path.cwd())
        scores.append(score)
        print(f"{score.module}: {score.changes} changes, {score.noticed:.0%} noticed", flush=True)
        for line in score.unnoticed:
            print(f"    {line}  # {EXPLAINED.get(line, 'NOT EXPLAINED')}", flush=True)
    changes, unnoticed = sum(one.changes for one in scores), sum(len(one.unnoticed) for one in scores)
    print(f"all: {changes} changes, {1 - unnoticed / max(1, changes):.1%} noticed")
    return int(any(one.noticed < WANTED or one.unexplained for one in scores))


def changed(target: Target, root: Path) -> Score:
    """Make every change to one module and return the score. Raise CalledProcessError if its tests fail unchanged."""
    module = target.found(root)
    command = [*(LIGHT if target.light else PYTEST), *target.tests]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        config, session = Path(folder) / "config.toml", Path(folder) / "session.sqlite"
        texts = {"module": str(module), "command": " ".join(command), "leave_out": LEAVE_OUT}
        values = {name: json.dumps(value) for name, value in texts.items()}
        config.write_text(CONFIG.format(timeout=TIMEOUT_S[target.light], **values), encoding="utf-8")
        _tool("cosmic-ray", "init", str(config), str(session))
        _tool("cr-filter-operators", str(session), str(config))
        _tool("cosmic-ray", "exec", str(config), str(session))
        dump = _tool("cosmic-ray", "dump", str(session))
    return _score(module, dump.splitlines())


def _tool(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _score(module: Path, lines: Iterable[str]) -> Score:
    changes, unnoticed = 0, []
    for line in lines:
        item, result = json.loads(line)
        if result is None or result["worker_outcome"] != "normal":
            continue  # filtered
        changes += 1
        if result["test_outcome"] == "survived":
            (mutation,) = item["mutations"]
            unnoticed.append(f"{module}: {_shown(result['diff'] or '', mutation)}")
    return Score(str(module), changes, sorted(unnoticed))


def _shown(diff: str, mutation: dict[str, object]) -> str:
    old = [line[1:].strip() for line in diff.splitlines() if line.startswith("-") and not line.startswith("---")]
    new = [line[1:].strip() for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++")]
    return f"{' '.join(old)} -> {' '.join(new)} ({str(mutation['operator_name']).partition('/')[2]})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
