"""The folders of STATE_DIR under a running server: removed, moved, replaced by a file, and put right again."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from supervisor.guardian.handle import Handle
from supervisor.node.cleanup.attempt_records import AttemptRecords
from supervisor.node.storage.folder import Folder
from supervisor.node.storage.published_files import Files
from supervisor.node.storage.trash import Trash
from supervisor.node.storage.workspaces import Workspaces


@pytest.fixture
def trash(tmp_path: Path) -> Iterator[Trash]:
    made = Trash(tmp_path / "trash")
    made.open()
    yield made
    made.close(10)


@pytest.fixture(params=[False, True], ids=["own user", "run as"])
def workspaces(request: pytest.FixtureRequest, tmp_path: Path, trash: Trash) -> Iterator[Workspaces]:
    made = Workspaces(tmp_path, trash)
    made.open(for_other_users=request.param)
    yield made
    made.close()


def a_workspace(workspaces: Workspaces) -> Path:
    made = workspaces.path("j")
    (made / "out").mkdir(parents=True)
    (made / "out" / "x").write_text("x")
    return made


def spoil(path: Path) -> Path:
    """`mv path x; touch path`. The folder that it was."""
    moved = path.rename(path.with_name("moved"))
    path.touch()
    return moved


def repair(path: Path) -> None:
    path.unlink()
    path.with_name("moved").rename(path)


# --- one folder


def test_a_folder_that_was_removed_is_made_again_with_its_mode(workspaces: Workspaces) -> None:
    path = workspaces.folder.path
    mode = stat.S_IMODE(path.stat().st_mode)
    shutil.rmtree(path)
    assert workspaces.folder.look() == ""
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_path_that_is_not_a_folder_is_reported_until_it_is_one(workspaces: Workspaces) -> None:
    folder = workspaces.folder
    spoil(folder.path)
    assert folder.name == "DEADSTOP_STATE_DIR/workspaces"
    assert "not a folder" in folder.look() == folder.problem
    repair(folder.path)
    assert folder.look() == folder.problem == ""


def test_a_state_dir_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "state" / "files")
    folder.open()
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    assert "state is gone" in folder.look()
    assert not (tmp_path / "state").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "state")
    assert folder.look() == ""


# --- workspaces


def test_without_a_trash_it_is_made_again(tmp_path: Path, trash: Trash, workspaces: Workspaces) -> None:
    made = a_workspace(workspaces)
    shutil.rmtree(tmp_path / "trash")
    assert workspaces.discard("j") is True
    assert not made.exists()
    assert (tmp_path / "trash").is_dir()


def test_only_a_removed_workspace_is_reported_gone(tmp_path: Path, trash: Trash, workspaces: Workspaces) -> None:
    made = a_workspace(workspaces)
    spoil(tmp_path / "trash")
    assert workspaces.discard("j") is False
    assert made.exists()
    assert trash.folder.look() != ""
    repair(tmp_path / "trash")
    assert trash.folder.look() == ""
    trash.try_again()
    assert not made.exists()


def test_a_workspace_left_behind_is_distinguished_from_a_later_one_of_its_name(
    tmp_path: Path, trash: Trash, workspaces: Workspaces
) -> None:
    made = a_workspace(workspaces)
    spoil(tmp_path / "trash")
    assert workspaces.discard("j") is False
    made.rename(tmp_path / "so that its inode is not used again")
    a_workspace(workspaces)
    repair(tmp_path / "trash")
    trash.try_again()
    assert made.exists(), "this is the workspace of a later job"


def test_a_workspace_is_found_in_a_folder_that_was_moved(tmp_path: Path, workspaces: Workspaces) -> None:
    a_workspace(workspaces)
    workspaces.folder.path.rename(tmp_path / "moved")
    assert workspaces.folder.look() == "", "it is made again"
    assert workspaces.discard("j") is True
    assert not (tmp_path / "moved" / "j").exists()


def test_a_workspace_in_a_folder_that_was_removed_is_gone(tmp_path: Path, workspaces: Workspaces) -> None:
    a_workspace(workspaces)
    shutil.rmtree(workspaces.folder.path)
    assert workspaces.discard("j") is True
    a_workspace(workspaces)
    assert workspaces.find("j") is not None
    assert workspaces.discard("j") is True
    assert workspaces.find("j") is None


# --- files


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_files_are_published_into_a_folder_that_is_made_again(
    tmp_path: Path, trash: Trash, workspaces: Workspaces, how: str
) -> None:
    files = Files(tmp_path, trash)
    files.open()
    if how == "removed":
        shutil.rmtree(files.folder.path)
    else:
        files.folder.path.rename(tmp_path / "moved")
    assert files.publish("j", a_workspace(workspaces))
    assert [found.path for found in files.list("j")[0]] == [b"x"]
    files.folder.close()


def test_files_that_cannot_be_published_are_an_error(tmp_path: Path, trash: Trash, workspaces: Workspaces) -> None:
    files = Files(tmp_path, trash)
    files.open()
    spoil(files.folder.path)
    with pytest.raises(OSError, match="Not a directory"):
        files.publish("j", a_workspace(workspaces))
    assert "not a folder" in files.folder.problem
    files.folder.close()


# --- attempt records


@pytest.fixture
def handle() -> Iterator[Handle]:
    opened = Handle.open(os.getpid())
    yield opened
    opened.close()


def notes(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("how", ["removed", "a file"])
def test_records_raise_nothing_and_are_there_once_the_place_is_right(tmp_path: Path, handle: Handle, how: str) -> None:
    folder = tmp_path / "attempts"
    records = AttemptRecords(folder)
    assert records.open() == []
    server = notes(folder)
    records.keep("j", handle, handle)
    before = notes(folder)
    if how == "removed":
        shutil.rmtree(folder)
    else:
        spoil(folder)
    other = Handle(handle.pid, handle.start_ticks + 1, None)
    records.drop(handle)
    records.keep("k", other, other)
    records.look()
    if how == "a file":
        assert "not a folder" in records.folder.problem
        repair(folder)
        assert notes(folder) == before
        records.look()
    assert records.folder.problem == ""
    assert notes(folder) == server | {f"{records.cookie}-{other.pid}-{other.start_ticks}.json"}
    records.drop(other)
    records.close()
    assert notes(folder) == set()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ENOSPC])
def test_a_record_that_cannot_be_written_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The failure is not reported again at each look that fails in the same way."""
    records = AttemptRecords(tmp_path / "attempts")
    records.open()
    (only,) = (tmp_path / "attempts").iterdir()
    only.unlink()

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with structlog.testing.capture_logs() as logs:
        with monkeypatch.context() as patched:
            patched.setattr(records, "_write", fails)
            for _ in range(5):
                records.look()
            assert records.folder.problem == f"cannot write it: {os.strerror(number)}"
        records.look()
    assert [entry["event"] for entry in logs] == ["folder_unusable", "folder_usable_again"]
    assert only.exists()
    records.close()
