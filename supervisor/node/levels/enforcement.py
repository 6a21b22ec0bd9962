"""What a guardian is told to hold its job to."""

from __future__ import annotations

from supervisor.engine.containment import Limits
from supervisor.guardian.protocol import Limit


def order_for(limits: Limits, controllers: frozenset[str]) -> Limit:
    """What the guardian is told. A limit that nobody enforces is not in it."""
    return Limit(
        memory_bytes=limits.memory_bytes,
        processes=limits.processes,
        cpus=limits.cpus if "cpu" in controllers else None,
        controllers=sorted(controllers),
    )
