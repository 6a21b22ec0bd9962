"""Values that an engine returns for inspection: a job's processes, stacks and files, and the engine's own status."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from supervisor.engine.containment import ContainmentStatus, Levels
from supervisor.engine.report import Loss


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of health. If a `required` one fails the server accepts no jobs; another only degrades it."""

    ok: bool
    detail: str
    required: bool = True
    numbers: dict[str, float] = field(default_factory=dict)
    """Measurements, with units in their names."""
    tracebacks: dict[str, str] = field(default_factory=dict)
    """Module → traceback of its failed import."""
    public: str | None = None
    """The detail for clients without a token, without paths and texts of task modules. None hides all but `ok`."""

    def for_strangers(self) -> Check:
        """Return the check as clients without a token may see it."""
        words = self.public or ("ok" if self.ok else "does not hold; GET /health says why, with a token")
        return Check(self.ok, words, self.required, self.numbers)


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process of a job, for people. `cpu_percent` is of one core; it and the rates are of the last interval.
    `wait_channel` is the kernel function that a sleeping process waits in. A value is None if the system hides it."""

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
    """`text` is None if no stack could be taken; then `note` says why."""

    text: str | None
    taken_at: datetime
    note: str | None = None


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file that a job left. `path` is relative, in the bytes that the job used."""

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
        """The HTTP entity tag, which changes whenever the file does."""
        ...

    async def read(self, size_bytes: int, position: int) -> bytes:
        """Return the bytes at `position`. Raise NotReady if the disk does not answer."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The engine's present status. `checks` are for /readyz and /health, by name."""

    levels: Levels
    containment: ContainmentStatus
    controllers: frozenset[str]
    ready_workers: int
    checks: dict[str, Check]


@dataclass(frozen=True, slots=True)
class Opened:
    """Remains of an earlier engine: `losses` by job, and how many processes were found and killed."""

    losses: dict[str, Loss]
    orphans: int
