"""The parts of one round, each guarded on its own: one that fails never keeps another from its turn."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FAILURES = (OSError, MemoryError)
"""No descriptors, no memory, not allowed, a device error: what a system call can answer. A bug is none of these."""

_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})


class Parts:
    """What failed in this round, by part, in words."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self.errors: list[OSError | MemoryError] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Go on behind the block when it fails."""
        try:
            yield
        except FAILURES as exc:
            self.note(name, exc)

    def note(self, name: str, error: OSError | MemoryError) -> None:
        """One part of the round has failed."""
        self.errors.append(error)
        self.failed[name] = (error.strerror or str(error)) if isinstance(error, OSError) else "out of memory"

    def noting(self, name: str) -> Callable[[OSError], None]:
        """For a walk that reports what it could not read and goes on."""
        return lambda error: self.note(name, error)

    def add(self, other: Parts) -> None:
        """What has failed in the other has failed here."""
        self.failed.update(other.failed)
        self.errors.extend(other.errors)

    @property
    def out_of_descriptors(self) -> bool:
        return any(isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS for error in self.errors)

    def clear(self) -> None:
        """A new round begins."""
        self.failed.clear()
        self.errors.clear()
