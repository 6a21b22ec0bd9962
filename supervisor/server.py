"""The composition root of `deadstop serve`: it connects jobs, this machine and the API."""

from __future__ import annotations

from supervisor.api.server import serve_until_stopped
from supervisor.config import Settings
from supervisor.core.supervisor import Supervisor
from supervisor.faults import Faults
from supervisor.node.node import Node


def serve(settings: Settings) -> int:
    """Serve until a signal arrives. Return the exit code."""
    return serve_until_stopped(settings, lambda: supervisor_of(settings, holds_state_dir=True))


def supervisor_of(settings: Settings, *, holds_state_dir: bool = False) -> Supervisor:
    """Return a supervisor whose jobs run on this machine. `holds_state_dir`: this process has already locked it."""
    faults = Faults()
    return Supervisor(settings, Node(settings, faults=faults, holds_state_dir=holds_state_dir), faults)
