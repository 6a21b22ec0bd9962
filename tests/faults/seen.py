"""Observations made while a fault lasted and afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Seen:
    """Observations made while a fault lasted and afterwards."""

    hits: int = 0
    server_lives: bool = True
    cancel_status: int | None = None
    """None: no answer came while the fault lasted."""
    late: list[str] = field(default_factory=list)
    """Processes of the cancelled job that outlived its budget."""
    left: list[str] = field(default_factory=list)
    """Processes of the job that ended by itself, or of any job once the server was dead."""
    submit_status: int | None = None
    started_during: bool = False
    ready_during: bool = True
    cancelled: dict[str, Any] = field(default_factory=dict)
    ended: dict[str, Any] = field(default_factory=dict)
    during: dict[str, Any] | None = None
    innocent: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    ready_after: bool = False
    descriptors: int = 0
    """How many more the server has than before."""
    said: str = ""
    """The lines that the server wrote to stderr while the fault lasted."""

    @property
    def accepted(self) -> bool:
        """Whether the new job was accepted. A retry gets 200 if the response to the first request was lost."""
        return self.submit_status in {200, 202}
