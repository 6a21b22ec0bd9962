"""The forkserver is replaced when it cannot be reached, and has its socket where there is room for one."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path

import pytest

from supervisor.engine.containment import Level
from supervisor.node.workers import server_forkserver
from tests.support.core import scenario, until
from tests.support.pools import BOUND_S, pool_of, served


def _address() -> Path:
    address = forkserver._forkserver._forkserver_address  # type: ignore[attr-defined]
    assert isinstance(address, str)
    return Path(address)


def _folder_removed() -> None:
    shutil.rmtree(_address().parent)


def _socket_removed() -> None:
    _address().unlink()


def _replaced_by_a_file() -> None:
    _address().unlink()
    _address().write_text("not a socket", encoding="ascii")


def _replaced_by_a_socket() -> None:
    """A job of the same user could do this to receive what the server sends, and to supply the child itself."""
    _address().unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(_address()))


def _stopped() -> None:
    os.kill(server_forkserver.pid() or 0, signal.SIGSTOP)


def _killed() -> None:
    os.kill(server_forkserver.pid() or 0, signal.SIGKILL)


def _killed_and_reaped() -> None:
    _killed()
    os.waitpid(server_forkserver.pid() or 0, 0)


HURTS: list[Callable[[], None]] = [
    _folder_removed,
    _socket_removed,
    _replaced_by_a_file,
    _replaced_by_a_socket,
    _stopped,
    _killed,
    _killed_and_reaped,
]


def test_a_forkserver_that_cannot_be_reached_is_replaced() -> None:
    async def body() -> None:
        async with pool_of() as pool:
            runs = await served(pool)
            for hurt in HURTS:
                before = server_forkserver.pid()
                hurt()
                pool.retire(await served(pool))
                assert server_forkserver.pid() != before, hurt.__name__
                assert pool.trouble is None
            assert runs.healthy
            pool.retire(runs)

    scenario(body)


def _gone(folder: Path) -> Path:
    return folder / "gone"


def _a_file(folder: Path) -> Path:
    (folder / "file").write_text("", encoding="ascii")
    return folder / "file"


def _too_long(folder: Path) -> Path:
    long = folder / ("x" * 120)
    long.mkdir()
    return long


def _read_only(_: Path) -> Path:
    return Path("/proc")


@pytest.mark.parametrize("make", [_gone, _a_file, _too_long, _read_only])
def test_a_temporary_folder_that_cannot_hold_the_socket(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(make(tmp_path)))

    async def body() -> None:
        async with pool_of() as pool:
            pool.retire(await served(pool))
            assert _address().parent.parent in map(Path, server_forkserver.OTHER_FOLDERS)
            folder = _address().parent
        assert not folder.exists()

    scenario(body)


def test_without_any_folder_each_is_named_and_a_later_start_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = server_forkserver.OTHER_FOLDERS
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    monkeypatch.setattr(server_forkserver, "OTHER_FOLDERS", ("/proc",))

    async def body() -> None:
        async with pool_of() as pool:
            wish = pool.request(Level.SUBREAPER)
            await until(lambda: pool.trouble is not None)
            assert f"'{tmp_path}/gone': No such file or directory; '/proc': " in str(pool.trouble)
            monkeypatch.setattr(server_forkserver, "OTHER_FOLDERS", others)
            pool.retire(await asyncio.wait_for(wish, BOUND_S))
            assert pool.trouble is None

    scenario(body)
