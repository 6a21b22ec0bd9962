"""Helpers that every misbehaving child uses: the beacon, a way to print READY, and a limit of its own lifetime."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

LIFETIME_S = 20
"""After this, every process of every sin is gone by itself."""
MUSTER_BOUND_S = 10.0


READY = "READY"
IN_PLACE = b"!"
"""Written into the beacon when the sin is being committed: READY for an observer beside the job."""


class Stage:
    """The surroundings of a misbehaving child.

    `beacon` is an open, inheritable descriptor of the FIFO. `cancelled` returns whether a cancel was requested.
    Raise OSError if the FIFO has no reader.
    """

    def __init__(self, fifo: str, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.beacon = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        self.cancelled = cancelled
        os.set_inheritable(self.beacon, True)

    def ready(self) -> None:
        """Print READY for readers of the output, and write to the beacon for the observer."""
        print(READY, flush=True)
        os.write(self.beacon, IN_PLACE)

    def arm_self_destruct(self) -> None:
        """Have the kernel end this process after LIFETIME_S, whatever it is doing. Not inherited by children."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIFETIME_S)

    def linger(self) -> None:
        """Stay, as a root does whose work is done by others."""
        time.sleep(LIFETIME_S)


class Muster:
    """A pipe on which descendants report that they are in place, so that READY means all of them.

    A shell reports with `report`; a Python child writes a byte to `fd`.
    """

    def __init__(self) -> None:
        self._read, self.fd = os.pipe()
        os.set_inheritable(self.fd, True)

    @property
    def report(self) -> str:
        # Not `>&N`: dash knows only descriptors of one digit there.
        return f"echo >/dev/fd/{self.fd}"

    def wait(self, count: int) -> None:
        """Wait for `count` reports. Raise TimeoutError if fewer have arrived within MUSTER_BOUND_S."""
        deadline = time.monotonic() + MUSTER_BOUND_S
        for arrived in range(count):
            if not select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"only {arrived} of {count} descendants are in place")
            os.read(self._read, 1)


def start(
    argv: Sequence[str],
    fds: Sequence[int],
    *,
    new_session: bool = False,
    quiet: bool = False,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child that inherits `fds`; `quiet` puts its output away, else it holds its parent's stdout open."""
    out = subprocess.DEVNULL if quiet else None
    return subprocess.Popen(
        argv,
        pass_fds=fds,
        start_new_session=new_session,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        env=env,
    )


def python(*arguments: str) -> list[str]:
    """A Python that starts fast and needs nothing from its surroundings."""
    return [sys.executable, "-I", "-S", *arguments]
