"""Levels of containment, limits on resources, and the proofs that no process of a job is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

AUTO = "auto"


class Level(StrEnum):
    """Levels from the weakest to the strongest. Each adds to the weaker ones that the machine supports."""

    PGROUP = "pgroup"
    SUBREAPER = "subreaper"
    CGROUP = "cgroup"
    PIDNS = "pidns"

    @property
    def takes_cgroup(self) -> bool:
        """Whether each attempt gets a cgroup, if the machine has cgroups."""
        return self in {Level.CGROUP, Level.PIDNS}


BEST_FIRST = (Level.CGROUP, Level.SUBREAPER, Level.PGROUP)
"""The levels that `auto` tries. A namespace changes what a job sees, so it is used on request only."""


class LevelUnavailable(Exception):
    """Raised when a requested level is not available on this machine. The message names those that are."""


@dataclass(frozen=True, slots=True)
class Levels:
    """`default` is the level of jobs that request none. `why_not` maps each unavailable level to the reason."""

    default: Level
    why_not: dict[Level, str]

    @classmethod
    def choose(cls, setting: str, why_not: dict[Level, str]) -> Levels:
        """Return the levels of a server. `setting` is a level's name or "auto". Raise LevelUnavailable if it fails."""
        best = next((level for level in BEST_FIRST if level not in why_not), None)
        if best is None:
            reasons = "; ".join(f"{level}: {reason}" for level, reason in why_not.items())
            raise LevelUnavailable(f"no level of containment works here: {reasons}")
        levels = cls(best, why_not)
        return levels if setting == AUTO else cls(levels.for_job(setting), why_not)

    def for_job(self, asked: str | None) -> Level:
        """Return the level for a job that requests `asked`. Raise LevelUnavailable if the machine does not have it."""
        if asked is None or asked == AUTO:
            return self.default
        level = Level(asked)
        if level in self.why_not:
            usable = ", ".join([AUTO, *(known for known in Level if known not in self.why_not)])
            raise LevelUnavailable(f"level {level} is not available here: {self.why_not[level]}; use one of {usable}")
        return level


@dataclass(frozen=True, slots=True)
class ContainmentStatus:
    """Coverage of the active level. `why_not` maps each level that is not active to the reason."""

    level: Level
    covers: tuple[str, ...]
    not_covered: tuple[str, ...]
    why_not: dict[Level, str]

    @property
    def words(self) -> str:
        """The level in a few words."""
        return f"{self.level} (best effort)" if self.level is Level.PGROUP else str(self.level)

    def lines(self) -> Iterator[str]:
        """Yield the status as lines of text. Of the inactive levels only the stronger ones are listed."""
        yield f"containment {self.words} covers {'; '.join(self.covers)}"
        yield f"not covered: {'; '.join(self.not_covered)}"
        ranks = list(Level)
        for level in ranks[ranks.index(self.level) + 1 :]:
            yield f"more would be {level}: {self.why_not[level]}"


class Proof(StrEnum):
    """Evidence that no process of the job is left."""

    NEVER_STARTED = "never_started"
    ECHILD = "echild"
    CGROUP_EMPTY = "cgroup_empty"
    PIDNS_GONE = "pidns_gone"
    ADOPTED_REAPED = "adopted_reaped"
    PROCESS_TABLE = "process_table"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Survivor:
    """A process that should have ended. `status` is psutil's: running, sleeping, disk-sleep, stopped or zombie."""

    pid: int
    name: str
    status: str


class Enforcer(StrEnum):
    """The mechanism that enforces a limit: the kernel by cgroup, the guardian by measuring, or nothing."""

    CGROUP = "cgroup"
    SAMPLED = "sampled"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Limits:
    """`cpus` is CPU time in cores: 0.5 is half a core. None means unlimited."""

    memory_bytes: int | None = None
    processes: int | None = None
    cpus: float | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Enforcement:
    """The enforcer of each limit; None if there is no limit."""

    memory_bytes: Enforcer | None
    processes: Enforcer | None
    cpus: Enforcer | None


def enforcement(limits: Limits, controllers: frozenset[str]) -> Enforcement:
    """Return what enforces `limits` for a job whose cgroup has these controllers (none if it has no cgroup)."""

    def by(limit: float | None, controller: str, otherwise: Enforcer) -> Enforcer | None:
        if limit is None:
            return None
        return Enforcer.CGROUP if controller in controllers else otherwise

    return Enforcement(
        memory_bytes=by(limits.memory_bytes, "memory", Enforcer.SAMPLED),
        processes=by(limits.processes, "pids", Enforcer.SAMPLED),
        cpus=by(limits.cpus, "cpu", Enforcer.NONE),
    )
