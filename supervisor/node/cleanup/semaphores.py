"""The semaphores of a server's Events, named so that the next server can remove those that are left in /dev/shm.

multiprocessing removes them itself, or its resource tracker does. If both were killed, five objects of each worker
would stay for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import process
from pathlib import Path
from typing import Any

SHM = Path("/dev/shm")  # noqa: S108 - the C library keeps them there
_PREFIX = "/mp-"
_COOKIE_CHARS = 12


@contextmanager
def named(cookie: str | None) -> Iterator[None]:
    """Put the server's cookie into the names of semaphores that the block creates. None leaves multiprocessing's
    names.
    """
    config: dict[str, Any] = process.current_process()._config  # type: ignore[attr-defined]
    before = config["semprefix"]
    if cookie is not None:
        config["semprefix"] = _PREFIX + cookie[:_COOKIE_CHARS]
    try:
        yield
    finally:
        config["semprefix"] = before


def remove(cookies: Iterable[str], shm: Path = SHM) -> int:
    """Remove the semaphores of the servers with these cookies, which have ended. Return how many there were."""
    removed = 0
    for cookie in cookies:
        for path in shm.glob(f"sem{_PREFIX.replace('/', '.')}{cookie[:_COOKIE_CHARS]}-*"):
            try:
                path.unlink()
            except OSError:
                continue  # a tracker has removed it already, or it is another user's
            removed += 1
    return removed
