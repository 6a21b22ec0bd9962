"""What must hold for the server to take jobs, and what should."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold. Without a `required` one the server takes no jobs; others only degrade it."""

    ok: bool
    detail: str
    required: bool = True
