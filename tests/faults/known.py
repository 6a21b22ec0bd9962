"""Faults that the product does not survive yet: pattern of faults → symptom. Remove an entry once it is mended."""

from __future__ import annotations

from fnmatch import fnmatchcase

from tests.faults.faults import Fault

KNOWN: dict[str, str] = {
    "server:openat,*:delay:1+": "the self-test, every half minute, reads /proc on the event loop",
    "server:poll:ENOMEM:*": "twelve descriptors more are held than before",
    "server:recvfrom:*": "asyncio gives up a connection whose recv(2) fails: if it is a job's, that job fails",
    "server:write:*": "a resource tracker that cannot be told is given up, and what ends with it is loud",
}


def known(fault: Fault) -> str | None:
    """Return the known symptom of this fault, or None if the server must survive it."""
    return next((what for pattern, what in KNOWN.items() if fnmatchcase(str(fault), pattern)), None)
