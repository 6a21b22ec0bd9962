"""The levels of containment that this machine has, and cgroups as the kernel shows them: nothing asks the product."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from supervisor.engine.containment import Level
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.node.levels.cgroup_tree import CgroupTree, NoCgroup, own_cgroup, tree_name
from supervisor.node.levels.probe import MOUNTINFO, probe_cgroup, probe_pidns


@functools.cache
def why_no_cgroup() -> str | None:
    """Return why cgroups cannot be used on this machine, or None. Try it, as the server does."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            tree = probe_cgroup(Path(folder))
        except NoCgroup as exc:
            return str(exc)
        tree.close()
        return None


@functools.cache
def why_no_namespace() -> str | None:
    """Return why a pid namespace cannot be created on this machine, or None. Try it, as the server does."""
    return probe_pidns()


DEFAULT_LEVEL = Level.SUBREAPER if why_no_cgroup() is not None else Level.CGROUP
"""The level that `auto` chooses on this machine."""
PROOFS = {
    Level.PGROUP: "process_table",
    Level.SUBREAPER: "echild",
    Level.CGROUP: "cgroup_empty",
    Level.PIDNS: "pidns_gone",
}
DEFAULT_PROOF = PROOFS[DEFAULT_LEVEL]


def cgroup_of(pid: int) -> str:
    """The version 2 path, as /proc shows it."""
    lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines()
    return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))


_trees: dict[Path, Path] = {}
"""Where servers had their cgroups, for folders that are removed by the time: they are named for their inodes."""


def tree_folder(state_dir: Path) -> Path:
    """Where the server of this STATE_DIR has its cgroups, if it was started where this process was."""
    if state_dir in _trees and not state_dir.exists():
        return _trees[state_dir]
    membership = Path("/proc/self/cgroup").read_text(encoding="ascii")
    folder = own_cgroup(MOUNTINFO.read_text(encoding="utf-8"), membership) / tree_name(state_dir)
    if state_dir.exists():
        _trees[state_dir] = folder
    return folder


def leaves(state_dir: Path) -> list[Path]:
    """The leaves of attempts that are there now."""
    folder = tree_folder(state_dir)
    return sorted(folder.glob("attempt-*")) if folder.is_dir() else []


def remember_tree(state_dir: Path) -> None:
    """So that `remove_tree` finds it when STATE_DIR is gone."""
    if why_no_cgroup() is None:
        tree_folder(state_dir)


def remove_tree(state_dir: Path) -> None:
    """Remove the cgroup tree of a server that was killed and is not started again."""
    if why_no_cgroup() is None:
        AttemptCgroup(str(tree_folder(state_dir))).remove()


def a_tree(state_dir: Path) -> CgroupTree:
    return CgroupTree.find(state_dir, MOUNTINFO)
