"""The levels of containment as parameters of tests: those that this machine has, the others skipped with the reason."""

from __future__ import annotations

import pytest

from supervisor.engine.containment import Level
from tests.support.levels import why_no_cgroup, why_no_namespace

needs_pidns = pytest.mark.skipif(why_no_namespace() is not None, reason=f"no pid namespace here: {why_no_namespace()}")
needs_cgroup = pytest.mark.skipif(why_no_cgroup() is not None, reason=f"no cgroup here: {why_no_cgroup()}")
OUTSIDE_NAMESPACES = [pytest.param(Level.SUBREAPER), pytest.param(Level.CGROUP, marks=needs_cgroup)]
LEVELS = [*OUTSIDE_NAMESPACES, pytest.param(Level.PIDNS, marks=needs_pidns)]
"""The levels that a containment test runs at."""
