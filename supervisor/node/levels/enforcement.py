"""What a job may use, and who holds it to that: the kernel by cgroup, the guardian by sampling, or nobody."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from supervisor.guardian.protocol import Limit


class Enforcer(StrEnum):
    CGROUP = "cgroup"
    SAMPLED = "sampled"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Limits:
    """`cpus` is a number of cores' worth of time; 0.5 is half a core. None: unlimited."""

    memory_bytes: int | None = None
    processes: int | None = None
    cpus: float | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Enforcement:
    """Who enforces each limit; None where there is no limit."""

    memory_bytes: Enforcer | None
    processes: Enforcer | None
    cpus: Enforcer | None


def enforcement(limits: Limits, controllers: frozenset[str]) -> Enforcement:
    """Who enforces `limits` for a job whose cgroup has these controllers (none, if it has no cgroup)."""

    def by(limit: float | None, controller: str, otherwise: Enforcer) -> Enforcer | None:
        if limit is None:
            return None
        return Enforcer.CGROUP if controller in controllers else otherwise

    return Enforcement(
        memory_bytes=by(limits.memory_bytes, "memory", Enforcer.SAMPLED),
        processes=by(limits.processes, "pids", Enforcer.SAMPLED),
        cpus=by(limits.cpus, "cpu", Enforcer.NONE),
    )


def order_for(limits: Limits, controllers: frozenset[str]) -> Limit:
    """What the guardian is told. A limit that nobody enforces is not in it."""
    return Limit(
        memory_bytes=limits.memory_bytes,
        processes=limits.processes,
        cpus=limits.cpus if "cpu" in controllers else None,
        controllers=sorted(controllers),
    )
