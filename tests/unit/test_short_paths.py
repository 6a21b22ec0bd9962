"""The folders of a job leave room for the name of a socket, however long its id and STATE_DIR are."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.node.storage.short_paths import MAX_FOLDER_BYTES, ShortPaths

NAME = "s" * 40


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a path as short as those that the server uses."""
    with tempfile.TemporaryDirectory(prefix="d", dir="/tmp") as folder:
        yield Path(folder)


def bind_in(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / NAME))


@pytest.mark.parametrize("folder", [".home", ".tmp", ".run"])
@pytest.mark.parametrize("job_id", ["j", "i" * 36, "i" * 64])
def test_a_socket_can_be_bound_in_each_folder(tmp_path: Path, place: Path, job_id: str, folder: str) -> None:
    workspace = tmp_path / ("d" * 100) / "workspaces" / job_id
    (workspace / folder).mkdir(parents=True)
    with pytest.raises(OSError, match="path too long"):
        bind_in(workspace / folder)  # control: without the link
    short = ShortPaths(tmp_path, (place,))
    bind_in(short.of(job_id, workspace) / folder)
    assert (workspace / folder / NAME).is_socket()
    short.close()
    assert list(place.iterdir()) == []


def test_a_path_that_is_short_enough_stays(place: Path) -> None:
    short = ShortPaths(place, (place,))
    longest = place / ("i" * (MAX_FOLDER_BYTES - len(f"{place}//.home")))
    assert short.of("fits", longest) == longest
    assert list(place.iterdir()) == []
    assert short.of("long", longest.with_name(longest.name + "i")) != longest
    short.close()


def test_a_link_goes_with_its_job_and_what_a_dead_server_left_with_the_next_start(tmp_path: Path, place: Path) -> None:
    workspace = tmp_path / ("w" * 64)
    dead = ShortPaths(tmp_path, (place,))
    left = dead.of("left", workspace)
    second = dead.of("second", workspace)
    assert left != second
    assert left == dead.of("left", workspace)
    dead.drop("second")
    dead.drop("second")
    assert not second.is_symlink()
    assert left.readlink() == workspace
    other = ShortPaths(tmp_path / "other", (place,))
    other.open()
    assert left.is_symlink()  # another server's
    ShortPaths(tmp_path, (place,)).open()
    assert list(place.iterdir()) == []


def test_a_cleaner_of_tmp_and_a_name_that_is_taken_do_no_harm(tmp_path: Path, place: Path) -> None:
    workspace = tmp_path / ("w" * 64)
    short = ShortPaths(tmp_path, (place,))
    link = short.of("a", workspace)
    link.unlink()
    link.parent.rmdir()
    assert short.of("b", workspace).readlink() == workspace
    short.drop("a")
    short.close()
    taken = place / link.parent.name
    taken.symlink_to(tmp_path)
    made = ShortPaths(tmp_path, (place,)).of("c", workspace)
    assert made.parent != taken
    assert made.readlink() == workspace
    assert list(tmp_path.iterdir()) == []


def test_other_users_may_follow_links_and_not_list_them(tmp_path: Path, place: Path) -> None:
    for others, mode in ((False, 0o700), (True, 0o711)):
        short = ShortPaths(tmp_path, (place,))
        short.open(for_other_users=others)
        folder = short.of("a", tmp_path / ("w" * 64)).parent
        assert folder.stat().st_mode & 0o777 == mode
        assert folder.stat().st_uid == os.geteuid()
        short.close()


def test_without_a_place_for_links_the_job_runs_by_its_long_path(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    workspace = tmp_path / ("w" * 64)
    assert ShortPaths(tmp_path, (file,)).of("a", workspace) == workspace
