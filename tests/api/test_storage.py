"""STATE_DIR in trouble: a disk that is full, a journal that is damaged or newer."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.api.raw_stream import PATIENCE_S
from tests.api.wire import RealServer, real_server

SMALL_BYTES = 8 * 1024 * 1024


@pytest.fixture
def small_state(tmp_path: Path) -> Iterator[Path]:
    """A STATE_DIR that is a real file system, and soon full."""
    state = tmp_path / "state"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES},mode=700", "none", str(state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount; tests/unit/test_journal_disk.py has the same with a journal that may not grow")
    yield state
    subprocess.run(["umount", state], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Fill the file system completely."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
    yield
    ballast.unlink()


def body(command: str, **more: Any) -> dict[str, Any]:
    return {"task": "shell", "input": {"command": command}, **more}


def refused(server: RealServer) -> None:
    """Submit until even the space that the journal had reserved is used up."""
    deadline = time.monotonic() + PATIENCE_S
    for number in range(1000):
        answer = server.ask("POST", "/jobs", body("true", id=f"refused-{number}", labels={"long": "x" * 200}))
        if answer.status == 507:
            assert answer.problem == "storage-full"
            assert server.ask("GET", f"/jobs/refused-{number}").status == 404, "it never was"
            return
        assert time.monotonic() < deadline
        server.ended(f"refused-{number}")
    raise AssertionError("there was room for everything")


def test_a_full_disk_refuses_jobs_and_lets_running_ones_go_on(small_state: Path) -> None:
    with real_server(small_state) as server:
        server.run("while :; do echo tick; sleep 0.05; done", id="runs")
        with server.stream("GET", "/jobs/runs/events") as stream:
            stream.until("tick")
            with filled(small_state):
                refused(server)
                # A stream reports the same failure as an event.
                with server.stream("POST", "/execute/stream", body("true", id="streamed")) as other:
                    other.read_to_end()
                (event,) = other.events()
                assert (event["type"], event["error"]["kind"]) == ("job.failed", "store")
                assert server.ask("GET", "/readyz").status == 503
                seen = len(stream.events())
                stream._until(lambda: len(stream.events()) >= seen + 20)
                cancelled = server.ask("POST", "/jobs/runs/cancel?wait=5")
                assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")
                assert cancelled.json["cancellation"]["within_budget"] is True
                stream.read_to_end()
        events = stream.events()
        deadline = time.monotonic() + PATIENCE_S
        while server.ask("GET", "/readyz").status != 200:
            assert time.monotonic() < deadline
        assert server.ask("POST", "/jobs", body("true", id="streamed")).status == 202, "its id was given back"
        assert server.ended("streamed")["state"] == "succeeded"
    with real_server(small_state) as server:
        kept: list[dict[str, Any]] = []
        while page := server.ask("GET", f"/jobs/runs/events?follow=false&after={len(kept)}").json["events"]:
            kept += page
        assert kept == events
    with sqlite3.connect(small_state / "journal.sqlite3") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_a_damaged_journal_is_set_aside_with_its_files_and_the_server_says_so(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with real_server(state) as server:
        server.ended(server.run("echo kept > out/x", id="old"))
    journal = state / "journal.sqlite3"
    data = bytearray(journal.read_bytes())
    data[4096:12288] = os.urandom(8192)
    journal.write_bytes(data)
    with real_server(state) as server:
        assert server.ask("GET", "/jobs/old").status == 404
        assert server.ended(server.run("true", id="new"))["state"] == "succeeded"
        (aside,) = state.glob("journal.sqlite3.damaged-*")
        assert aside.read_bytes() == data
        assert f"kept as {aside}" in server.log.read_text()
        (files,) = state.glob("files.damaged-*")
        assert (files / "old" / "x").read_text() == "kept\n"
        checks = server.ask("GET", "/health").json["checks"]
        assert str(aside) in checks["store"]["detail"]


def test_a_newer_journal_stops_the_start(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with real_server(state) as server:
        server.ended(server.run("true"))
    with sqlite3.connect(state / "journal.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 12")
    connection.close()
    with pytest.raises(AssertionError, match="newer version of deadstop"), real_server(state):
        pass
