"""The phase of a job whose module is imported, shown when that takes a while."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from runner.protocol import PhaseChange
from runner.reporter import Reporter

SHOWN_AFTER_S = 0.25
"""Most imports are over by then, and nobody needs to read of them."""


@contextmanager
def import_phase(module: str, reporter: Reporter) -> Iterator[None]:
    """Report the phase `startup`, with the module's name, when the block takes so long."""
    if module in sys.modules:
        yield
        return
    lock = threading.Lock()
    over = threading.Event()

    def tell() -> None:
        with lock:  # so that the phase never comes behind what is reported after the block
            if not over.is_set():
                reporter.send(PhaseChange("startup", f"importing {module}"))

    timer = threading.Timer(SHOWN_AFTER_S, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            over.set()
