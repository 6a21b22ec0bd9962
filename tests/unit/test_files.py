"""Files that jobs leave: reading them does not follow links outside, and they are removed in whatever form."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.errors import NotFound
from supervisor.node.storage import beneath
from supervisor.node.storage.published_files import Files
from supervisor.node.storage.trash import Trash


@pytest.fixture
def trash(tmp_path: Path) -> Iterator[Trash]:
    made = Trash(tmp_path / "trash")
    made.open()
    yield made
    made.close()


@pytest.fixture
def files(tmp_path: Path, trash: Trash) -> Iterator[Files]:
    made = Files(tmp_path, trash)
    made.open()
    yield made
    made.folder.close()


def an_out(tmp_path: Path) -> Path:
    out = tmp_path / "workspaces" / "j" / "out"
    out.mkdir(parents=True)
    return out


def paths(root: Path, limit: int = 100) -> list[bytes]:
    return [found.path for found in beneath.list_files(root, limit)[0]]


# --- looking


def test_only_ordinary_files_are_listed_and_opened(tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret"
    (root / "sub" / "deep").mkdir(parents=True)
    secret.write_text("secret")
    (root / "a.txt").write_text("a")
    (root / "sub" / "deep" / "b").write_text("bb")
    (root / "link").symlink_to(secret)
    (root / "folder-link").symlink_to(tmp_path)
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "fifo")
    assert [(f.path, f.size_bytes) for f in beneath.list_files(root, 100)[0]] == [(b"a.txt", 1), (b"sub/deep/b", 2)]
    fd = beneath.open_file(root, [b"sub", b"deep", b"b"])
    assert os.read(fd, 10) == b"bb"
    os.close(fd)
    for wrong in (
        [b"link"], [b"folder-link", b"secret"], [b"loop", b"a.txt"], [b"fifo"], [b"sub"], [b".."],
        [b"..", b"secret"], [b"sub", b"..", b"a.txt"], [b""], [b"a.txt", b""], [b"."], [b"sub/../a.txt"], [b"a\0"], [],
        [b"x" * 5000],
    ):  # fmt: skip
        with pytest.raises(OSError):  # noqa: PT011  # whichever of them, nothing is opened
            beneath.open_file(root, wrong)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_read_by_a_second_name(tmp_path: Path) -> None:
    root, token = tmp_path / "root", tmp_path / "token"
    root.mkdir()
    token.write_text("secret")
    (root / "own").write_text("own")
    (root / "also-own").hardlink_to(root / "own")
    (root / "linked").hardlink_to(token)
    (root / "given").write_text("as tar leaves it, unpacked by root")
    os.chown(root / "given", 65534, 65534)
    assert paths(root) == [b"also-own", b"given", b"linked", b"own"]
    for path in (root, root / "own", root / "given"):
        os.chown(path, 65533, 65533)  # a job that runs as another user, who may have linked what is root's
    assert paths(root) == [b"also-own", b"given", b"own"]
    with pytest.raises(FileNotFoundError):
        beneath.open_file(root, [b"linked"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("below", ["", "sub"])
def test_a_file_of_another_user_that_was_moved_in_is_not_read(tmp_path: Path, below: str) -> None:
    root = tmp_path / "root"
    (root / below).mkdir(parents=True)
    for name, owner in (("own", 65534), ("roots", 0), ("anothers", 65533)):
        (root / below / name).write_text(name)
        os.chown(root / below / name, owner, owner)
    os.chown(root, 65534, 65534)
    prefix = [os.fsencode(below)] if below else []
    assert paths(root) == [b"/".join([*prefix, b"own"])]
    os.close(beneath.open_file(root, [*prefix, b"own"]))
    for wrong in (b"roots", b"anothers"):
        with pytest.raises(FileNotFoundError):
            beneath.open_file(root, [*prefix, wrong])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_out_folder_of_another_user_is_not_published(tmp_path: Path, files: Files) -> None:
    out = an_out(tmp_path)
    (out / "secret").write_text("secret")
    os.chown(out.parent, 65534, 65534)  # and `out`, with what is in it, is still root's
    with pytest.raises(PermissionError, match="another user"):
        files.publish("j", out.parent)
    assert files.list("j") == ([], False)
    out.mkdir()
    (out / "x").touch()
    os.chown(out, 65534, 65534)
    assert files.publish("j", out.parent)


def test_a_root_that_is_a_link_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_text("x")
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert paths(tmp_path / "root") == []
    with pytest.raises(OSError):  # noqa: PT011
        beneath.open_file(tmp_path / "root", [b"x"])


def test_lists_are_bounded_and_say_so(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / str(number)).touch()
    assert len(beneath.list_files(tmp_path, 10)[0]) == 10
    assert beneath.list_files(tmp_path, 10)[1] is False
    assert beneath.list_files(tmp_path, 9)[1] is True
    folder = tmp_path
    for _ in range(beneath.MAX_DEPTH + 1):
        folder = folder / "d"
    folder.mkdir(parents=True)
    assert beneath.list_files(tmp_path, 100)[1] is True
    assert beneath.list_files(tmp_path / "nothing", 10) == ([], False)


# --- publishing


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO])
def test_what_the_machine_fails_at_is_not_taken_for_missing(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (files.folder.path / "j" / "sub").mkdir(parents=True)
    (files.folder.path / "j" / "sub" / "a").touch()

    def fails(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fails)
    with pytest.raises(OSError, match=os.strerror(number)):
        files.list("j")
    with pytest.raises(OSError, match=os.strerror(number)):
        files.open_file("j", b"sub/a")


def test_a_file_that_vanishes_during_the_look_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "stays").touch()
    (root / "goes").touch()
    scandir = os.scandir

    @contextmanager
    def scandir_then_remove(folder: int) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(folder) as entries:
            listed = list(entries)
        (root / "goes").unlink()
        yield listed

    monkeypatch.setattr(os, "scandir", scandir_then_remove)
    assert paths(root) == [b"stays"]


def test_all_of_out_is_published_by_one_rename(tmp_path: Path, files: Files) -> None:
    out = an_out(tmp_path)
    (out / "x").write_text("new")
    inode = out.stat().st_ino
    assert files.publish("j", out.parent)
    assert not out.exists()
    assert (tmp_path / "files" / "j").stat().st_ino == inode
    fd = files.open_file("j", b"x")
    assert os.read(fd, 10) == b"new"
    os.close(fd)
    assert files.discard("j")
    with pytest.raises(NotFound):
        files.open_file("j", b"x")


def test_only_a_folder_with_files_is_published(tmp_path: Path, files: Files) -> None:
    out = an_out(tmp_path)
    assert not files.publish("j", out.parent)  # empty
    out.rmdir()
    assert not files.publish("j", out.parent)
    out.symlink_to("/etc")
    assert not files.publish("j", out.parent)
    assert not files.publish("j", tmp_path / "no-workspace")
    assert not (tmp_path / "files" / "j").exists()


def test_at_the_start_only_what_is_known_is_kept(tmp_path: Path, files: Files) -> None:
    for name in ("known", "unknown"):
        (tmp_path / "files" / name).mkdir()
    files.keep_only({"known"}.__contains__)
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["known"]
