"""Values that tell an engine what to run. They contain no paths: the engine chooses the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisor.engine.containment import NO_LIMITS, Level, Limits

STDIN_CHUNK_COST = 64


@dataclass(frozen=True, slots=True)
class Needs:
    """Requirements of a job for its reservation."""

    level: Level
    limits: Limits = NO_LIMITS
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt: the task, its module and its input. `budget_s` is the server's own cancel budget.

    `environment` has variables for the job besides the inherited ones. With `keep_files` the content of `out/` is
    published even if the job does not succeed.
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
    """Input from a client. `rows` and `columns` are a new size of the terminal; `eof` ends the input."""

    text: str = ""
    eof: bool = False
    rows: int | None = None
    columns: int | None = None

    @property
    def cost(self) -> int:
        """Its share of the limit on unread input, in bytes. An empty chunk has a cost, too."""
        return STDIN_CHUNK_COST + len(self.text.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class ModuleTask:
    """One task of a module, as its function describes it. `origin` is the module that defines the function; the module
    that offers it may only import it."""

    name: str
    description: str
    input_schema: dict[str, Any]
    origin: str = ""


@dataclass(frozen=True, slots=True)
class ModuleDescription:
    """Result of importing a task module. `error` says why it cannot be used, `traceback` where it failed."""

    module: str
    tasks: tuple[ModuleTask, ...] = ()
    error: str | None = None
    traceback: str | None = None
