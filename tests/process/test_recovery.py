"""The next server on the same STATE_DIR ends the processes that a killed server left, and no others."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.boot import boot_id
from supervisor.guardian import procfs
from supervisor.guardian.environment import COOKIE
from supervisor.guardian.handle import Handle, Identity
from supervisor.guardian.proc import read_stat
from supervisor.node.cleanup.attempt_records import AttemptRecords, Note
from supervisor.node.cleanup.recovery import recover

OTHER_BOOT = "0" * 32
NOBODY = 65534
JOB = "recovered-job"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ENOMEM])
def test_a_search_that_could_not_read_everything_is_done_again_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: subprocess.Popen[bytes], number: int
) -> None:
    path = tmp_path / "note.json"
    path.touch()
    note = Note(boot_id(), "e" * 32, None, (Identity(1, 0),))
    real = procfs.open_file

    def open_file(name: str, flags: int = os.O_RDONLY) -> int:
        if name == f"{stranger.pid}/stat":
            raise OSError(number, os.strerror(number))
        return real(name, flags)

    with monkeypatch.context() as broken:
        broken.setattr("supervisor.node.cleanup.recovery.TIMEOUT_S", 0.05)
        broken.setattr("supervisor.node.cleanup.recovery._is_there", lambda _: False)
        broken.setattr(procfs, "open_file", open_file)
        recovered = recover([(path, note)])
    assert recovered.unread
    assert path.exists()
    assert not recover([(path, note)]).unread  # the control
    assert not path.exists()


def test_a_server_that_cannot_be_read_is_not_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "note.json"
    path.touch()
    notes = [(path, Note(boot_id(), "e" * 32, None, (Identity(1, 0),)))]
    with monkeypatch.context() as broken:
        broken.setattr(procfs, "read", lambda _: (_ for _ in ()).throw(procfs.Unreadable(errno.EMFILE, "")))
        broken.setattr("supervisor.node.cleanup.recovery.boot_id", lambda: notes[0][1].boot_id)
        recover(notes)
    assert path.exists()
    recover(notes)
    assert not path.exists()


# --- what is ours, and what is not


@pytest.fixture
def records(tmp_path: Path) -> AttemptRecords:
    """The records of a server that is dead."""
    records = AttemptRecords(tmp_path / "attempts")
    records.open()
    rewrite(tmp_path, pid=os.getpid(), start_ticks=1)
    return records


def rewrite(folder: Path, **process: int) -> None:
    (path,) = (folder / "attempts").iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"processes": [process]}))


@pytest.fixture
def sleeper(records: AttemptRecords) -> Iterator[subprocess.Popen[bytes]]:
    yield from a_sleeper({COOKIE: records.cookie, "DEADSTOP_JOB_ID": JOB})


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    yield from a_sleeper({COOKIE: "f" * 32, "DEADSTOP_JOB_ID": JOB})


def a_sleeper(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    # Ends with our end of its stdin as well.
    code = "print('READY', flush=True); import sys; sys.stdin.read()"
    command = [sys.executable, "-I", "-S", "-c", code]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"READY\n"
        yield process


def notes(folder: Path) -> list[tuple[Path, Note]]:
    return [(path, Note.parse(path.read_text())) for path in (folder / "attempts").iterdir()]


def test_by_the_cookie(tmp_path: Path, sleeper: subprocess.Popen[bytes], stranger: subprocess.Popen[bytes]) -> None:
    recovered = recover(notes(tmp_path))
    assert sleeper.wait(5) == -signal.SIGKILL
    assert dict(recovered.ended) == {JOB: {sleeper.pid}}
    assert stranger.poll() is None
    assert notes(tmp_path) == []


def test_by_pid_and_start_time(tmp_path: Path, records: AttemptRecords, stranger: subprocess.Popen[bytes]) -> None:
    handle = Handle.open(stranger.pid)
    try:
        records.keep(JOB, handle, Handle(stranger.pid, handle.start_ticks + 1, None))
        recovered = recover(notes(tmp_path))
        assert stranger.wait(5) == -signal.SIGKILL
        assert (recovered.count, dict(recovered.ended)) == (1, {JOB: {stranger.pid}})
    finally:
        handle.close()


def test_a_process_that_reuses_the_pid_is_left_alone(
    tmp_path: Path, records: AttemptRecords, stranger: subprocess.Popen[bytes]
) -> None:
    stat = read_stat(stranger.pid)
    assert stat is not None
    earlier = Handle(stranger.pid, stat.start_ticks - 1, None)
    records.keep(JOB, earlier, earlier)
    assert recover(notes(tmp_path)).count == 0
    assert stranger.poll() is None


def test_not_what_another_boot_wrote(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    assert boot_id() != OTHER_BOOT
    (path,) = (tmp_path / "attempts").iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot_id": OTHER_BOOT}))
    assert recover(notes(tmp_path)).count == 0
    assert sleeper.poll() is None
    assert notes(tmp_path) == []


def test_not_what_a_server_has_that_still_runs(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    me = read_stat(os.getpid())
    assert me is not None
    rewrite(tmp_path, pid=me.pid, start_ticks=me.start_ticks)
    assert recover(notes(tmp_path)).count == 0
    assert sleeper.poll() is None
    assert len(notes(tmp_path)) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"processes": [{}]}', '{"processes": [], "cookie": "", "boot_id": ""}']
)
def test_a_file_that_is_not_a_record_is_put_away(tmp_path: Path, text: str) -> None:
    records = AttemptRecords(tmp_path / "attempts")
    (tmp_path / "attempts").mkdir()
    (tmp_path / "attempts" / "x.json").write_text(text)
    assert records.open() == []
    records.close()
    assert list((tmp_path / "attempts").iterdir()) == []


def test_a_record_stays_until_its_attempt_is_proven_gone(tmp_path: Path) -> None:
    records = AttemptRecords(tmp_path / "attempts")
    records.open()
    handle = Handle(1, 2, None)
    records.keep(JOB, handle, handle)
    records.close()
    left = {note.job_id: note.processes for _, note in notes(tmp_path)}
    assert left[JOB] == (Identity(1, 2), Identity(1, 2))
    assert None in left
    records.drop(handle)
    records.close()
    assert notes(tmp_path) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount /proc")
@pytest.mark.parametrize("hidepid", [1, 2])
def test_a_server_that_is_not_shown_others_finds_its_own(tmp_path: Path, hidepid: int) -> None:
    """Where /proc is mounted with hidepid, to look at a stranger is an error: of any kind, for any process."""
    tmp_path.chmod(0o755)
    script = f"""
import codecs, os, pathlib, subprocess, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from supervisor.node.cleanup.attempt_records import Note
from supervisor.guardian.environment import COOKIE
from supervisor.guardian.handle import Identity
from supervisor.node.cleanup.recovery import recover
from supervisor.guardian.membership import KnownProcesses
from supervisor.guardian.proc import descendants, read_stat
from supervisor.boot import boot_id
codecs.lookup("ascii")  # this user may not be able to read the interpreter's files
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
cookie = "e" * 32
start = dict(env={{COOKIE: cookie, "PATH": "/usr/bin:/bin"}}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
left = subprocess.Popen(["sh", "-c", "echo; exec sleep 60"], **start)
left.stdout.readline()
assert read_stat(1) is None
assert descendants(os.getpid(), use_children_files=False) == [left.pid]
assert [one.pid for one in KnownProcesses(os.getpid(), Identity(1, 0)).search()] == [left.pid]
note = Note(boot_id(), cookie, None, (Identity(1, 0),))
print(recover([(pathlib.Path("/nonexistent/note"), note)]).count, left.wait(5))
"""
    mount = f"mount -t proc -o hidepid={hidepid} proc /proc && exec {sys.executable} -c {shlex.quote(script)}"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True, text=True, check=False)
    assert done.stdout.endswith(f"1 {-signal.SIGKILL}\n"), done.stderr
