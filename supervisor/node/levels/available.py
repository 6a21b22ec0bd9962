"""The server's containment, chosen once at its start by trying out the levels."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from supervisor.config import Settings
from supervisor.engine.containment import Level, Levels, LevelUnavailable
from supervisor.errors import StartupError
from supervisor.guardian.kernel_features import KernelFeatures
from supervisor.node.levels.cgroup_tree import CgroupTree
from supervisor.node.levels.probe import probe

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Containment:
    """`cgroups` is set if the machine has them, at any level of the server: close it at the end."""

    levels: Levels
    cgroups: CgroupTree | None
    left_over: int
    """The number of processes that an earlier server had left in its cgroups."""

    @classmethod
    def choose(cls, settings: Settings, ruled_out: dict[Level, str], features: KernelFeatures) -> Containment:
        """`ruled_out` are levels that other settings exclude, and why. Block for some milliseconds.

        Raise StartupError if the level of CONTAINMENT is unavailable.
        """
        probed = probe(settings.state_dir, setting=settings.containment, features=features)
        try:
            levels = Levels.choose(settings.containment, probed.why_not | ruled_out)
        except LevelUnavailable as exc:
            if probed.cgroups is not None:
                probed.cgroups.close()
            raise StartupError(f"cannot use DEADSTOP_CONTAINMENT: {exc}") from None
        why_not = {str(level): reason for level, reason in levels.why_not.items()}
        probes_ms = {str(level): ms for level, ms in probed.took_ms.items()}
        log.info("containment", active=str(levels.default), why_not=why_not, probes_ms=probes_ms)
        return cls(levels, probed.cgroups, probed.left_over)

    @property
    def controllers(self) -> frozenset[str]:
        """The cgroup controllers that can limit an attempt, at a level that has a cgroup."""
        return frozenset() if self.cgroups is None else self.cgroups.controllers
