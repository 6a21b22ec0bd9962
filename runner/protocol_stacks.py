"""How a supervisor asks a runner for its Python stacks: two signals to one thread, and a pipe that is read."""

from __future__ import annotations

import signal

STACK_THREAD = "deadstop-beat"
"""The name, in /proc, of the runner's thread that takes the signals below. At most 15 characters."""
_LAST_SIGNAL: int | None = getattr(signal, "SIGRTMAX", None)
STACK_SIGNAL = None if _LAST_SIGNAL is None else _LAST_SIGNAL - 1
"""To that thread: write the stacks of all threads, as soon as you have the interpreter lock. None: no such signals."""
STACK_SIGNAL_ANYHOW = None if _LAST_SIGNAL is None else _LAST_SIGNAL - 2
"""The same without the lock."""
STACK_END = b"\0"
"""Behind stacks that were written with the lock held."""
