"""A real server is killed with its guardian or its tracker; the next one on the same STATE_DIR ends what was left."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from supervisor.guardian.proc import children, read_stat
from supervisor.node.cleanup import semaphores
from supervisor.node.cleanup.attempt_records import Note
from tests.support.observer import Beacon, parent_of
from tests.support.server import RunningServer

JOB = "recovered-job"


def orphans_found(server: RunningServer) -> float:
    text = server.http.get("/metrics").text
    found = re.search(r"^deadstop_orphans_found_total (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_the_next_server_ends_what_a_dead_or_stopped_guardian_left(sent: signal.Signals, short_dir: Path) -> None:
    """The guardian is killed with its server, or stopped so that it does not see that its server dies."""
    state_dir = short_dir / f"again-{sent.name.lower()}"
    daemon = "(setsid sh -c 'sleep 60 & echo READY; sleep 60' &)"  # until it has left the session, a hang-up ends it
    with Beacon(short_dir / f"fifo-{sent.name.lower()}") as beacon:
        server = RunningServer(state_dir, "--containment", "subreaper")
        try:
            command = f"exec 9>'{beacon.path}'; {daemon}; sleep 60"
            with server.stream({"task": "shell", "id": JOB, "input": {"command": command}}) as stream:
                guardian = parent_of(stream.until_type("job.running").data["pid"])
                stream.until_output("READY", 10)
                os.kill(server.pid, signal.SIGSTOP)  # or it would sweep in the moment between the two
                os.kill(guardian, sent)
                server.kill()
            # The control: it does not end by itself.
            assert not beacon.wait_eof(time.monotonic() + 0.5)
            assert (state_dir / "workspaces" / JOB).exists()
            again = RunningServer(state_dir, "--containment", "subreaper")
            try:
                assert beacon.wait_eof(time.monotonic() + 0.1)  # it is not ready before
                stat = read_stat(guardian)
                assert stat is None or stat.ended
                assert orphans_found(again) >= 3
                said = [line for line in again.stderr.splitlines() if "orphans_ended" in line]
                assert any(JOB in line for line in said), again.stderr
                assert not again.workspaces()
                deadline = time.monotonic() + 2
                while any((state_dir / "trash").iterdir()) and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert not list((state_dir / "trash").iterdir())
            finally:
                again.stop()
            assert not list((state_dir / "attempts").iterdir())
        finally:
            beacon.kill_holders(time.monotonic() + 5)


def semaphores_there(cookie: str) -> list[str]:
    return sorted(path.name for path in Path("/dev/shm").glob(f"sem.mp-{cookie[:12]}-*"))


def test_the_semaphores_of_a_killed_server_go_when_its_tracker_was_killed_too(short_dir: Path) -> None:
    server = RunningServer(short_dir / "shm", "--containment", "subreaper")
    try:
        (note,) = [Note.parse(path.read_text()) for path in (short_dir / "shm" / "attempts").iterdir()]
        os.kill(server.pid, signal.SIGSTOP)  # or it would make another tracker
        for pid in children(server.pid):
            if b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        server.kill()
        # The control: nothing else removes them.
        assert len(semaphores_there(note.cookie)) % 5 == 0
        assert semaphores_there(note.cookie)
        again = RunningServer(short_dir / "shm", "--containment", "subreaper")
        try:
            assert semaphores_there(note.cookie) == []
        finally:
            again.stop()
    finally:
        server.kill()


def test_only_a_dead_server_s_semaphores_are_removed(tmp_path: Path) -> None:
    dead, alive = "d" * 32, "a" * 32
    for cookie in (dead, alive, ""):
        (tmp_path / f"sem.mp-{cookie[:12] or 'x1y2z3'}-one").touch()
    assert semaphores.remove([dead], tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"sem.mp-{'a' * 12}-one", "sem.mp-x1y2z3-one"]
