"""How a supervisor requests a runner's Python stacks: by two signals to one thread, with the stacks on a pipe."""

from __future__ import annotations

import signal

STACK_THREAD = "deadstop-beat"
"""The name, in /proc, of the runner's thread that receives the signals. At most 15 characters."""
_LAST_SIGNAL: int | None = getattr(signal, "SIGRTMAX", None)
STACK_SIGNAL = None if _LAST_SIGNAL is None else _LAST_SIGNAL - 1
"""Write the stacks of all threads as soon as the interpreter lock is free. None where there are no such signals."""
STACK_SIGNAL_ANYHOW = None if _LAST_SIGNAL is None else _LAST_SIGNAL - 2
"""Write them without the lock."""
STACK_END = b"\0"
"""The end of stacks that were written with the lock held."""
