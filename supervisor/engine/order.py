"""What is to be run, and in how much room. No path goes down: the engine chooses the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisor.engine.containment import NO_LIMITS, Level, Limits

STDIN_CHUNK_COST = 64


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job needs before it can start."""

    level: Level
    limits: Limits = NO_LIMITS
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt: which task of which module, with which input. `budget_s` is the server's own cancel budget.

    `environment` has variables that the job gets besides the server's. `keep_files`: what the job leaves in `out/` is
    published also when it does not succeed.
    """

    job_id: str
    module: str
    task: str
    input: Mapping[str, Any]
    needs: Needs
    budget_s: float
    environment: Mapping[str, str] = field(default_factory=dict)
    keep_files: bool = False


@dataclass(frozen=True, slots=True)
class StdinChunk:
    """What a client has typed. `rows` and `columns` are a new size of the terminal; `eof` is the end of the input."""

    text: str = ""
    eof: bool = False
    rows: int | None = None
    columns: int | None = None

    @property
    def cost(self) -> int:
        """What it counts for against the limit on what was not taken yet, in bytes; an empty one is not free."""
        return STDIN_CHUNK_COST + len(self.text.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class ModuleTask:
    """One task of a module, as its function describes it. `origin` is where the function was written: a module may have
    imported it from another one."""

    name: str
    description: str
    input_schema: dict[str, Any]
    origin: str = ""


@dataclass(frozen=True, slots=True)
class ModuleDescription:
    """What an import of a module of tasks came to. `error` says why it cannot be used, `traceback` where it failed."""

    module: str
    tasks: tuple[ModuleTask, ...] = ()
    error: str | None = None
    traceback: str | None = None
