"""What an engine shows: the processes, stacks and files of a job, and how the engine itself is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from supervisor.engine.containment import ContainmentStatus, Levels
from supervisor.engine.report import Loss


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold. Without a `required` one the server takes no jobs; others only degrade it."""

    ok: bool
    detail: str
    required: bool = True
    numbers: dict[str, float] = field(default_factory=dict)
    """What it measured, with units in the names."""
    tracebacks: dict[str, str] = field(default_factory=dict)
    """Module → where its import failed."""
    public: str | None = None
    """The detail for a stranger, who is shown no path and no text of a task module. None: only whether it holds."""

    def for_strangers(self) -> Check:
        """Return the check as a client without a token may see it."""
        words = self.public or ("ok" if self.ok else "does not hold; GET /health says why, with a token")
        return Check(self.ok, words, self.required, self.numbers)


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process of a job, for people. `cpu_percent` is of one core; it and the rates are of the last moment.
    `wait_channel` names the kernel function that a sleeping process waits in. None is what the system does not tell."""

    pid: int
    ppid: int
    name: str
    cmdline: list[str]
    status: str
    cpu_percent: float
    rss_bytes: int
    started_at: datetime
    session: int
    threads: int
    wait_channel: str | None
    read_bytes_per_s: float | None
    write_bytes_per_s: float | None


@dataclass(frozen=True, slots=True)
class StackDump:
    """`text` is None when there was none to be had, and `note` says why."""

    text: str | None
    taken_at: datetime
    note: str | None = None


@dataclass(frozen=True, slots=True)
class FoundFile:
    """An ordinary file that a job left. `path` is relative and has the bytes that the job gave it."""

    path: bytes
    size_bytes: int


class OpenFile(Protocol):
    """One file that a job left, open for reading."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def modified_at(self) -> float:
        """Wall time in seconds."""
        ...

    @property
    def etag(self) -> str:
        """What changes whenever the file does, as HTTP writes it."""
        ...

    async def read(self, size_bytes: int, position: int) -> bytes:
        """Return the bytes at `position`. Raise NotReady when the disk does not answer."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """How the engine is at this moment. `checks` are for /readyz and /health, by name."""

    levels: Levels
    containment: ContainmentStatus
    controllers: frozenset[str]
    ready_workers: int
    checks: dict[str, Check]


@dataclass(frozen=True, slots=True)
class Opened:
    """What an earlier engine had left: `losses` by job, and how many processes were found and ended."""

    losses: dict[str, Loss]
    orphans: int
