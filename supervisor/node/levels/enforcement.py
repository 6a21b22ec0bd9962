"""The limits that a guardian enforces."""

from __future__ import annotations

from supervisor.engine.containment import Limits
from supervisor.guardian.protocol import Limit


def order_for(limits: Limits, controllers: frozenset[str]) -> Limit:
    """Return the message for the guardian, without limits that cannot be enforced."""
    return Limit(
        memory_bytes=limits.memory_bytes,
        processes=limits.processes,
        cpus=limits.cpus if "cpu" in controllers else None,
        controllers=sorted(controllers),
    )
