"""The semaphores of a server's Events: named so that the next server can remove what is left in /dev/shm.

multiprocessing removes them itself, or its resource tracker does. When both were killed, five objects of each attempt
set would stay for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import process
from pathlib import Path
from typing import Any

SHM = Path("/dev/shm")  # noqa: S108 - where the C library has them
_PREFIX = "/mp-"
_COOKIE_CHARS = 12


@contextmanager
def named(cookie: str | None) -> Iterator[None]:
    """What is made in the block has the server's cookie in its name. None: a name as multiprocessing gives it."""
    config: dict[str, Any] = process.current_process()._config  # type: ignore[attr-defined]
    before = config["semprefix"]
    if cookie is not None:
        config["semprefix"] = _PREFIX + cookie[:_COOKIE_CHARS]
    try:
        yield
    finally:
        config["semprefix"] = before


def remove(cookies: Iterable[str], shm: Path = SHM) -> int:
    """Remove what the servers with these cookies have left, which are dead. How many semaphores that were."""
    removed = 0
    for cookie in cookies:
        for path in shm.glob(f"sem{_PREFIX.replace('/', '.')}{cookie[:_COOKIE_CHARS]}-*"):
            try:
                path.unlink()
            except OSError:
                continue  # a tracker was first, or it is another user's
            removed += 1
    return removed
