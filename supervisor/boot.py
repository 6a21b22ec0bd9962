"""Identify the boot of the machine: start times and monotonic clocks of two boots cannot be compared."""

from __future__ import annotations

from pathlib import Path

import psutil


def boot_id() -> str:
    """Return an identifier of this boot of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # containers may hide it
        return f"booted at {psutil.boot_time():.0f}"
