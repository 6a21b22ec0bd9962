"""Keep one core busy, so that a test shows what happens on a loaded machine."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

_BURN = """
import signal, sys
signal.alarm(int(sys.argv[1]))
print("burning", flush=True)
while True:
    pass
"""


@contextlib.contextmanager
def busy_core(lifetime_s: int = 900) -> Iterator[None]:
    """One process in a tight loop while the block runs; it ends by itself after `lifetime_s`."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BURN, str(lifetime_s)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
