"""Servers without containment: start a program, and stop it the way most people do. For negative controls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import psutil

from tests.children import Naive
from tests.support.observer import Beacon, Watched
from tests.support.server import ROOT

MARK = "DEADSTOP_CONTROL"
READY_BOUND_S = 15.0


class NaiveJob:
    """One sin as a plain subprocess in a session of its own, its output on a pipe."""

    def __init__(self, sin: str, folder: Path) -> None:
        self.sin = sin
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.beacon = Beacon(folder / "beacon")
        self.root = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.children", sin, "--beacon", str(self.beacon.path)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "HOME": str(folder), MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.root.stdout is not None
        self.output = self.root.stdout

    def wait_ready(self) -> None:
        assert self.beacon.wait_in_place(READY_BOUND_S), f"{self.sin} is not in place after {READY_BOUND_S} s"

    def stop(self, how: Naive) -> None:
        """Stop it in the given naive way. The client's pipe is closed in any case."""
        self.output.close()
        match how:
            case Naive.CLOSE:
                pass
            case Naive.TERMINATE:
                self.root.terminate()
            case Naive.KILL:
                self.root.kill()
            case Naive.TERMINATE_GROUP:
                os.killpg(self.root.pid, signal.SIGTERM)
            case Naive.KILL_GROUP:
                os.killpg(self.root.pid, signal.SIGKILL)
            case Naive.KILL_MARKED:
                os.killpg(self.root.pid, signal.SIGKILL)
                with Watched(self._marked()) as marked:
                    marked.kill()

    def _marked(self) -> list[int]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark:
                    found.append(process.pid)
            except psutil.Error:
                continue  # gone, or owned by another user
        return found

    def clean_up(self, deadline: float) -> bool:
        """Kill every process that holds the beacon, by handle. Return whether none is left."""
        try:
            return self.beacon.kill_holders(deadline)
        finally:
            self.root.kill()
            self.root.wait()
            self.output.close()
            self.beacon.close()
