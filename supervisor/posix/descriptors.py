"""File descriptors of a process that was forked and has no use for what it inherited."""

from __future__ import annotations

import os


def close_all_but(*keep: int) -> None:
    """Close every descriptor but stdin, stdout, stderr and these."""
    kept = sorted({0, 1, 2, *keep})
    for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(low + 1, high)
