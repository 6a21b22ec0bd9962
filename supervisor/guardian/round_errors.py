"""The errors of one round. Each part of the round is guarded, so that a failure does not keep the others from
running.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FAILURES = (OSError, MemoryError)
"""The errors that a system call can return: no descriptors, no memory, not permitted, a device error. A bug is not
one.
"""

_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})


class RoundErrors:
    """The parts of this round that have failed, with messages."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self.errors: list[OSError | MemoryError] = []

    @contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Record an error of the block, and continue after it."""
        try:
            yield
        except FAILURES as exc:
            self.record(name, exc)

    def record(self, name: str, error: OSError | MemoryError) -> None:
        self.errors.append(error)
        self.failed[name] = (error.strerror or str(error)) if isinstance(error, OSError) else "out of memory"

    def recorder(self, name: str) -> Callable[[OSError], None]:
        """Return a callback for a walk that reports what it could not read and continues."""
        return lambda error: self.record(name, error)

    def add(self, other: RoundErrors) -> None:
        """Add the errors of another round."""
        self.failed.update(other.failed)
        self.errors.extend(other.errors)

    @property
    def out_of_descriptors(self) -> bool:
        return any(isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS for error in self.errors)

    def clear(self) -> None:
        """Forget the errors when a new round begins."""
        self.failed.clear()
        self.errors.clear()
