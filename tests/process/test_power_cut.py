"""Acknowledged jobs survive a power cut: only data that was synced when the response was sent is left in the files."""

from __future__ import annotations

from pathlib import Path

from supervisor.core.jobs.model import State
from supervisor.core.journal.open import open_journal
from tests.support import lost_writes
from tests.support.server import running_server
from tests.support.tracing import needs_tracing

ACCEPTED = b"HTTP/1.1 202 "
ENDED = b"event: job.succeeded"


def in_journal(files: dict[Path, bytes], state_dir: Path, folder: Path) -> dict[str, State]:
    """Return the jobs that the next server finds in the files that are left, and their states."""
    folder.mkdir()
    for path, content in files.items():
        if path.is_relative_to(state_dir) and not path.name.endswith("-shm"):  # which is made anew
            (folder / path.name).write_bytes(content)
    opened = open_journal(folder)
    opened.connection.close()
    assert opened.set_aside is None, opened.damage
    return {entry.id: entry.state for entry in opened.contents.entries}


@needs_tracing
def test_an_answer_leaves_when_a_power_cut_can_no_longer_take_it_back(tmp_path: Path) -> None:
    trace, state_dir = tmp_path / "trace", tmp_path / "state"
    with running_server(state_dir, prefix=lost_writes.prefix(trace)) as server:
        body = {"task": "shell", "id": "kept", "input": {"command": "read line; echo said", "stdin": "open"}}
        server.http.post("/jobs", json=body).raise_for_status()
        server.http.post("/jobs/kept/input", json={"text": "go\n"})
        assert server.wait_finished("kept")["state"] == "succeeded"

    accepted = lost_writes.cut_at_answer(trace, ACCEPTED)
    assert in_journal(accepted, state_dir, tmp_path / "accepted").keys() == {"kept"}
    ended = lost_writes.cut_at_answer(trace, ENDED)
    assert in_journal(ended, state_dir, tmp_path / "ended") == {"kept": State.SUCCEEDED}
    # The control: what was written is lost when nothing has synced it.
    never = lost_writes.cut_at_answer(trace, ENDED, syncs=False)
    assert in_journal(never, state_dir, tmp_path / "never") == {}
