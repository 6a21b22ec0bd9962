"""Which levels this server has, and which one a job gets. What was asked for by name is never replaced silently."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.guardian.level import Level

AUTO = "auto"
_BEST_FIRST = (Level.CGROUP, Level.SUBREAPER, Level.PGROUP)
"""What `auto` tries. A namespace changes what a job sees, so it is used on request only."""


class LevelUnavailable(Exception):
    """A level was asked for by name that this machine does not have. The message says why, and what there is."""


@dataclass(frozen=True, slots=True)
class Levels:
    """`default` is the level of jobs that ask for none; `why_not` has those that cannot be used, and the reasons."""

    default: Level
    why_not: dict[Level, str]

    @classmethod
    def choose(cls, setting: str, why_not: dict[Level, str]) -> Levels:
        """`setting` is a level's name or "auto". Raises LevelUnavailable."""
        best = next((level for level in _BEST_FIRST if level not in why_not), None)
        if best is None:
            reasons = "; ".join(f"{level}: {reason}" for level, reason in why_not.items())
            raise LevelUnavailable(f"no level of containment works here: {reasons}")
        levels = cls(best, why_not)
        return levels if setting == AUTO else cls(levels.for_job(setting), why_not)

    def for_job(self, asked: str | None) -> Level:
        """The level of a job that asks for this. Raises LevelUnavailable."""
        if asked is None or asked == AUTO:
            return self.default
        level = Level(asked)
        if level in self.why_not:
            usable = ", ".join([AUTO, *(known for known in Level if known not in self.why_not)])
            raise LevelUnavailable(f"level {level} is not available here: {self.why_not[level]}; use one of {usable}")
        return level
