"""Folders are removed however deep they are and whatever their modes, without delaying the end of the server."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.node.storage.folder import Folder
from supervisor.node.storage.removal import remove_tree
from supervisor.node.storage.trash import CLOSE_TIMEOUT_S, Trash


def test_everything_is_removed_however_deep_or_forbidden(tmp_path: Path) -> None:
    hoist_to = tmp_path / "trash"
    victim = hoist_to / "victim"
    victim.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.write_text("stays")
    (victim / "link").symlink_to(outside)
    (victim / "folder-link").symlink_to(tmp_path)
    os.mkfifo(victim / "fifo")
    here = os.open(victim, os.O_RDONLY)
    for _ in range(3000):  # deeper than a path can be long, and than Python recurses
        os.mkdir("a-folder", dir_fd=here)  # Path has no dir_fd
        inner = os.open("a-folder", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    (victim / "a-folder").chmod(stat.S_IRUSR)
    assert list(remove_tree(victim, hoist_to)) == []
    assert list(hoist_to.iterdir()) == []
    assert outside.read_text() == "stays"


def test_the_next_server_empties_what_is_left(tmp_path: Path) -> None:
    (tmp_path / "trash" / "left" / "inside").mkdir(parents=True)
    trash = Trash(tmp_path / "trash")
    trash.open()
    trash.close(10)
    assert list((tmp_path / "trash").iterdir()) == []


def test_the_end_does_not_wait_for_all_of_the_trash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def slow(_path: Path, _hoist_to: Path) -> Iterator[str]:
        go_on.wait(10)
        yield from ()

    monkeypatch.setattr("supervisor.node.storage.trash.remove_tree", slow)
    trash = Trash(tmp_path / "trash")
    trash.open()
    place = Folder(tmp_path / "place")
    place.open()
    (place.path / "large").mkdir()
    assert trash.take(place, "large")
    began = time.monotonic()
    trash.close()
    took_s = time.monotonic() - began
    go_on.set()
    trash.close(10)
    assert took_s < 2 * CLOSE_TIMEOUT_S
