"""The phase of a job whose module is being imported, shown if that takes a while."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from runner.protocol import PhaseChange
from runner.reporter import Reporter

SHOWN_AFTER_S = 0.25
"""Most imports are faster than that and need not be shown."""


@contextmanager
def import_phase(module: str, reporter: Reporter) -> Iterator[None]:
    """Report the phase `startup`, with the module's name, if the block takes longer than SHOWN_AFTER_S."""
    if module in sys.modules:
        yield
        return
    lock = threading.Lock()
    over = threading.Event()

    def report() -> None:
        with lock:  # so that the phase is never sent after what is reported after the block
            if not over.is_set():
                reporter.send(PhaseChange("startup", f"importing {module}"))

    timer = threading.Timer(SHOWN_AFTER_S, report)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            over.set()
