"""A file is replaced as a whole or not at all, even if its writer is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import atomic_file as files
from runner.atomic_file import open_atomic
from tests.support.server import ROOT


@pytest.fixture(params=[True, False], ids=["without a name", "with a name"])
def unnamed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways: O_TMPFILE, and the hidden file beside the target that other file systems need."""
    if not request.param:
        monkeypatch.setattr(files, "_O_TMPFILE", 0)
    return bool(request.param)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_old_stands_until_the_new_is_complete(tmp_path: Path, unnamed: bool) -> None:
    target = tmp_path / "report.txt"
    target.write_text("old")
    target.chmod(0o640)
    with open_atomic(target) as file:
        file.write("nöw")
        file.flush()
        assert target.read_text() == "old"
        assert len(names(tmp_path)) == (1 if unnamed else 2)
    assert target.read_bytes() == "nöw".encode()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert names(tmp_path) == ["report.txt"]


def test_on_any_exception_nothing_changes(tmp_path: Path, unnamed: bool) -> None:
    target = tmp_path / "report.txt"
    target.write_text("old")

    class Stopped(BaseException):
        pass

    def write_half() -> None:
        with open_atomic(target, "wb") as file:
            file.write(b"half")
            raise Stopped

    with pytest.raises(Stopped):
        write_half()

    @contextlib.contextmanager
    def refused() -> Iterator[None]:
        raise Stopped
        yield

    with pytest.raises(Stopped), open_atomic(target, commit=refused) as file:
        file.write("whole, but too late")
    assert (target.read_text(), names(tmp_path)) == ("old", ["report.txt"])


def test_only_a_regular_file_is_replaced(tmp_path: Path, unnamed: bool) -> None:
    # A task that runs as root and writes to /dev/null would replace the device in this way.
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    before = {path.name: path.lstat() for path in tmp_path.iterdir()}
    for name, words in (("folder", "Is a directory"), ("fifo", "Not a regular file"), ("link", "Not a regular file")):
        with pytest.raises(OSError, match=words), open_atomic(tmp_path / name) as file:
            file.write("new")
    after = {path.name: path.lstat() for path in tmp_path.iterdir()}
    assert {name: (s.st_ino, s.st_mode) for name, s in after.items()} == {
        name: (s.st_ino, s.st_mode) for name, s in before.items()
    }


def test_new_files_have_the_permissions_of_any_other(tmp_path: Path, unnamed: bool) -> None:
    with open_atomic(tmp_path / "new") as file:
        file.close()  # as people do
    (tmp_path / "other").touch()
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_is_written_through(tmp_path: Path, unnamed: bool) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with open_atomic(tmp_path / "link") as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize("mode", ["r", "a", "w+", "x"])
def test_other_modes_are_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ValueError, match="use 'w' or 'wb'"), open_atomic(tmp_path / "x", mode):
        pass


def test_a_killed_writer_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("old")
    script = (
        "import sys, time; from pathlib import Path; from runner.atomic_file import open_atomic\n"
        "with open_atomic(Path(sys.argv[1])) as f:\n"
        "    f.write('half'); f.flush(); print('READY', flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "report.txt")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert writer.stdout is not None
    with writer.stdout as out:
        assert out.readline() == b"READY\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert (tmp_path / "report.txt").read_text() == "old"
    assert names(tmp_path) == ["report.txt"]
