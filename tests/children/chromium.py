"""A real browser: a dozen processes, some in sessions of their own, none of them interested in their grandparent.

It shows an empty page and never goes to the network.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.children.stage import LIFETIME_S, MUSTER_BOUND_S, Stage, start

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
)


def misbehave(stage: Stage) -> None:
    profile = Path(tempfile.mkdtemp(prefix="profile-"))
    browser = ["/usr/bin/chromium", *_FLAGS, f"--user-data-dir={profile}", "data:text/html,<title>here</title>"]
    # timeout(1) is the self-destruct; the browser's other processes end when its first one does.
    start(["timeout", "--signal=KILL", str(LIFETIME_S), *browser], [stage.beacon], quiet=True)
    _wait_for(profile / "DevToolsActivePort")
    stage.ready()
    stage.linger()


def _wait_for(path: Path) -> None:
    # Written by the browser when it is up; there is nothing else of it to wait on.
    deadline = time.monotonic() + MUSTER_BOUND_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {path.name} within {MUSTER_BOUND_S} s: the browser did not start")
        time.sleep(0.01)
