"""strace, attached to running processes for the length of a block."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from tests.faults.faults import CALLS, Fault

ATTACH_BOUND_S = 5.0
DETACH_BOUND_S = 5.0
_CALL = re.compile(r"(?:(\d+) +)?(\w+)\(")
"""With the thread in front, unless there is only one."""


class Injection:
    """While the block runs, the processes have the fault, and their calls are counted.

    `follow`: in each thread that they have or start, and in each process that they start; else in the main thread.
    """

    def __init__(self, pids: Iterable[int], trace: Path, fault: Fault | None, *, follow: bool) -> None:
        self._pids = list(pids)
        self._follow = follow
        self._trace = trace
        traced = CALLS if fault is None else fault.calls
        self._command = ["strace", "-qq", "-e", "signal=none", "-e", f"trace={','.join(traced)}", "-o", str(trace)]
        self._command += ["-f"] * follow
        if fault is not None:
            self._command += ["-e", fault.injection]
        for pid in self._pids:
            self._command += ["-p", str(pid)]

    def __enter__(self) -> Injection:
        with self._trace.with_suffix(".err").open("wb") as stderr:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stderr=stderr)
        deadline = time.monotonic() + ATTACH_BOUND_S
        while not all(self._is_attached(pid) for pid in self._pids):
            # There is no event for it. A process that has ended meanwhile counts as attached.
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._end()
                raise AssertionError(f"cannot attach: {self._trace.with_suffix('.err').read_text()}")
            time.sleep(0.001)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        self._process.terminate()  # it lets go of all that it traces
        try:
            self._process.wait(DETACH_BOUND_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_attached(self, pid: int) -> bool:
        wanted = f"\nTracerPid:\t{self._process.pid}\n"
        try:
            threads = os.listdir(f"/proc/{pid}/task") if self._follow else [str(pid)]
            return all(wanted in Path(f"/proc/{pid}/task/{one}/status").read_text(encoding="utf-8") for one in threads)
        except (FileNotFoundError, ProcessLookupError):
            return not Path(f"/proc/{pid}").exists()

    @property
    def hits(self) -> int:
        """Return how often the fault occurred."""
        lines = self._trace.read_text(encoding="utf-8", errors="replace").splitlines()
        return sum("(INJECTED)" in line or "(DELAYED)" in line for line in lines)

    def wait_for_hit(self, bound_s: float) -> None:
        """Wait until the fault has occurred once, within a bound. There is no event for it."""
        deadline = time.monotonic() + bound_s
        while not self.hits and time.monotonic() < deadline:
            time.sleep(0.01)

    def counts(self) -> dict[str, int]:
        """Return, for each call, the highest number that a single thread has made."""
        made: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for line in self._trace.read_text(encoding="utf-8", errors="replace").splitlines():
            call = _CALL.match(line)
            if call is not None:
                made[call[2]][call[1]] += 1
        return {call: max(threads.values()) for call, threads in sorted(made.items())}
