"""Servers that are ended and started again on the same STATE_DIR, and what they are asked."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.api.raw_stream import PATIENCE_S, RawStream
from tests.api.wire import RealServer, real_server
from tests.support.observer import snapshot

SHELL = "shell"
CLOSE_MARGIN_S = 3.0
"""How long an orderly end may take."""


def body(command: str, **more: Any) -> dict[str, Any]:
    return {"task": SHELL, "input": {"command": command}, **more}


def end(server: RealServer, how: signal.Signals) -> None:
    """End the server. When this returns, none of its processes is left."""
    with snapshot(server.process.pid) as family:
        began = time.monotonic()
        server.process.send_signal(how)
        server.process.wait(PATIENCE_S)
        if how is not signal.SIGKILL:
            assert time.monotonic() - began < CLOSE_MARGIN_S
        assert not family.wait_gone(time.monotonic() + 3.0)


def events_of(server: RealServer, job_id: str, after: int = 0) -> list[dict[str, Any]]:
    """Follow a job to its end and return all of its events."""
    with server.stream("GET", f"/jobs/{job_id}/events?after={after}") as stream:
        stream.read_to_end()
    return stream.events()


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


@contextmanager
def one_at_a_time(state: Path, **more: str) -> Iterator[RealServer]:
    """Run a server whose only slot is taken by a job "first" that never ends."""
    with real_server(state, MAX_RUNNING="1", **more) as server:
        server.run("echo up; sleep 1000", id="first")
        with server.stream("GET", "/jobs/first/events") as stream:
            stream.until('"text": "up')
        yield server


def read_on(stream: RawStream) -> list[dict[str, Any]]:
    """Return the numbered events that arrived until the connection ended."""
    try:
        stream.read_to_end()
    except (AssertionError, OSError):
        stream.sock.close()
    return [event for event in stream.events() if "id" in event]
