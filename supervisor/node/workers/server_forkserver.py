"""The server's forkserver: multiprocessing's own, put right before each use.

multiprocessing starts another one when the last has ended, and only then. It is found through a socket in a temporary
folder, which programs that clean up remove after some days, or a job of the same user at once: then it lives and every
start fails. It can also be stopped, or have its socket replaced. Whatever it is, the forkserver is replaced. What runs
is not harmed: its guardians are adopted by the server.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import tempfile
from contextlib import suppress
from multiprocessing import forkserver, process
from typing import Any

import structlog

from runner import posix
from supervisor.guardian.pidfd import ignore_missing

PREFIX = "deadstop-fork-"
TRIAL = "listener-12345678"
"""As long as the name that multiprocessing gives its socket: a path may have 107 bytes, see unix(7)."""
OTHER_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - a folder with a name of its own is made in them

log = structlog.get_logger()


class _Place:
    """Where the socket is, and which file it was when the forkserver was started."""

    def __init__(self) -> None:
        self.preferred: str | None = None
        """This process's temporary folder, if it has one."""
        self.folder: str | None = None
        self.identity: tuple[int, int] | None = None


_place = _Place()


def _server() -> Any:
    return forkserver._forkserver


def pid() -> int | None:
    """Its pid, None before the first start."""
    found: int | None = _server()._forkserver_pid
    return found


def prefer_temporary_folder() -> None:
    """Have the socket there where TMPDIR says so now. Call while the environment is the server's own."""
    try:
        _place.preferred = tempfile.gettempdir()
    except OSError:
        _place.preferred = None  # none that Python knows can be written to; others are tried, and named if they fail


def ensure(open_files: posix.Limit | None) -> None:
    """Replace it if it cannot be reached, and start it if there is none. `open_files` is what its children may open.

    Raises OSError when it cannot be started; the next call tries again.
    """
    why = _unreachable()
    if why is not None:
        log.warning("forkserver_replaced", pid=pid(), why=why)
        end()
    before = pid()
    if before is None or _has_ended(before):
        _start()
    started = pid()
    assert started is not None
    if open_files is not None:
        # If it is dead, or dies in between, the start that follows makes another one or fails.
        with suppress(ProcessLookupError):
            posix.set_open_files_limit(started, open_files)


def kill() -> None:
    """Whoever waits for it fails at once, and the next start makes another."""
    found = pid()
    if found is not None:
        # Reaped only by `end` and by multiprocessing, at the next start: until then the pid cannot pass to another.
        ignore_missing(os.kill, found, signal.SIGKILL)


def end() -> None:
    """Kill and forget it, with its socket. Whatever of that is gone already does not matter."""
    server = _server()
    kill()
    found = pid()
    if found is not None:
        with suppress(ChildProcessError):  # reaped by another
            os.waitpid(found, 0)
        with server._lock:
            _forget(server)
    _remove_folder()


def _forget(server: Any) -> None:
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
    server._forkserver_alive_fd = server._forkserver_address = server._forkserver_pid = None


def _unreachable() -> str | None:
    """Why no process can be had from it although it may live. A start that was never tried is not asked here."""
    address = _server()._forkserver_address
    if address is None or _place.identity is None:
        return None
    try:
        found = os.lstat(address)
    except OSError as exc:
        return f"its socket {address} cannot be reached: {exc.strerror}"
    if not stat.S_ISSOCK(found.st_mode) or (found.st_dev, found.st_ino) != _place.identity:
        return f"its socket {address} was replaced"
    return None


def _has_ended(found: int) -> bool:
    """Whether it has, without reaping it: multiprocessing does that. One that another has reaped is forgotten here."""
    try:
        return os.waitid(os.P_PID, found, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        with _server()._lock:
            _forget(_server())
        return True


def _start() -> None:
    _remove_folder()
    config: Any = process.current_process()._config  # type: ignore[attr-defined]
    before = config.get("tempdir")
    _place.folder = config["tempdir"] = _new_folder()
    try:
        forkserver.ensure_running()
        found = os.lstat(_server()._forkserver_address)
        _place.identity = (found.st_dev, found.st_ino)
    except BaseException:
        end()
        raise
    finally:
        # Its children would take this folder for theirs.
        config["tempdir"] = before


def _new_folder() -> str:
    """A folder of our own, private, with a path that is short enough for a socket. Raises OSError."""
    failures = []
    preferred = () if _place.preferred is None else (_place.preferred,)
    for folder in dict.fromkeys((*preferred, *OTHER_FOLDERS)):
        try:
            return _folder_with_a_socket(folder)
        except OSError as exc:
            failures.append(f"{folder!r}: {exc.strerror or exc}")
    raise OSError(f"no folder for the forkserver's socket ({'; '.join(failures)})")


def _folder_with_a_socket(parent: str) -> str:
    folder = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
    try:
        # By doing it: a full disk may still have room for a folder, its path may be too long for a socket, and some
        # file systems have none.
        with socket.socket(socket.AF_UNIX) as trial:
            trial.bind(f"{folder}/{TRIAL}")
        os.unlink(f"{folder}/{TRIAL}")  # noqa: PTH108
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _remove_folder() -> None:
    folder, _place.folder, _place.identity = _place.folder, None, None
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)  # a cleaner may have been there before
