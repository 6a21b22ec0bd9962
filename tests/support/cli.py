"""Run the command line as a user does: in a process of its own, with pipes or on a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import ptyprocess

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
"""How long a test waits for expected output. Only a failing test waits that long."""


def environment(state_dir: Path, **more: str) -> dict[str, str]:
    """Return the environment of a client's process, without any settings of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEADSTOP_")}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        kept.pop(name, None)
    return {**kept, "PYTHONPATH": str(ROOT), "DEADSTOP_STATE_DIR": str(state_dir), "TERM": "xterm-256color", **more}


def words(*argv: str) -> list[str]:
    return [sys.executable, "-P", "-m", "supervisor", *argv]


@contextmanager
def started(*argv: str, env: dict[str, str], cwd: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """The command with pipes; ended by its handle if the test leaves it running."""
    process = subprocess.Popen(
        words(*argv),
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait(PATIENCE_S)


@dataclass
class Terminal:
    """The command on a terminal of its own. What it wrote is in `screen`, control sequences and all."""

    process: ptyprocess.PtyProcess
    screen: str = ""
    _raw: bytes = field(default=b"")

    def read_until(self, text: str) -> str:
        """Read until `text` has arrived, and return all output so far. Fail the test if the command ends or is late."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.screen:
            assert time.monotonic() < deadline, f"no {text!r} in {self.screen!r}"
            try:
                self._take(self.process.read(4096))
            except EOFError:
                assert text in self.screen, f"ended without {text!r}: {self.screen!r}"
        return self.screen

    def read_to_end(self) -> int:
        """Read until the command closes its terminal. Return its exit code, or minus the signal that ended it."""
        while True:
            try:
                self._take(self.process.read(4096))
            except EOFError:
                break
        self.process.wait()
        status = self.process.exitstatus
        return int(status) if status is not None else -int(self.process.signalstatus)

    def press(self, key: str) -> None:
        self.process.sendcontrol(key)

    def _take(self, data: bytes) -> None:
        self._raw += data
        self.screen = self._raw.decode("utf-8", "replace")


@contextmanager
def on_terminal(*argv: str, env: dict[str, str], rows: int = 30, columns: int = 100) -> Iterator[Terminal]:
    process = ptyprocess.PtyProcess.spawn(words(*argv), env=env, dimensions=(rows, columns))
    try:
        yield Terminal(process)
    finally:
        if process.isalive():
            process.kill(signal.SIGKILL)
        process.close()
