"""The server's forkserver: multiprocessing's own, repaired before each use.

multiprocessing starts another one only when the last has ended. It is reached through a socket in a temporary folder.
Programs that clean up remove that folder after some days, and a job of the same user can remove it at once: then the
forkserver lives and every start fails. It can also be stopped, or have its socket replaced. In each case the forkserver
is replaced. Running jobs are not harmed: their guardians are adopted by the server.
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
OTHER_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - a folder with a unique name is created in them

log = structlog.get_logger()


class _Place:
    """The folder of the socket, and the identity of the socket when the forkserver was started."""

    def __init__(self) -> None:
        self.preferred: str | None = None
        """This process's temporary folder, if it has one."""
        self.folder: str | None = None
        self.identity: tuple[int, int] | None = None


_place = _Place()


def _server() -> Any:
    return forkserver._forkserver


def pid() -> int | None:
    """Return its pid, or None before the first start."""
    found: int | None = _server()._forkserver_pid
    return found


def prefer_temporary_folder() -> None:
    """Use the temporary folder that TMPDIR names now. Call this while the environment is the server's own."""
    try:
        _place.preferred = tempfile.gettempdir()
    except OSError:
        _place.preferred = None  # Python found no writable folder; others are tried later, and named in the error


def ensure(open_files: posix.Limit | None) -> None:
    """Replace the forkserver if it cannot be reached, and start it if there is none. `open_files` limits its children.

    Raise OSError if it cannot be started; the next call tries again.
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
        # If it dies in between, the following start replaces it or fails.
        with suppress(ProcessLookupError):
            posix.set_open_files_limit(started, open_files)


def kill() -> None:
    """Make every call that waits for it fail. The next start replaces it."""
    found = pid()
    if found is not None:
        # Only `end` and multiprocessing reap it, at the next start: until then the pid cannot be reused.
        ignore_missing(os.kill, found, signal.SIGKILL)


def end() -> None:
    """Kill and forget it, and remove its socket. Parts that are missing already do not matter."""
    server = _server()
    kill()
    found = pid()
    if found is not None:
        with suppress(ChildProcessError):  # it was reaped elsewhere
            os.waitpid(found, 0)
        with server._lock:
            _forget(server)
    _remove_folder()


def _forget(server: Any) -> None:
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
    server._forkserver_alive_fd = server._forkserver_address = server._forkserver_pid = None


def _unreachable() -> str | None:
    """Return why no process can be started with it although it may live. A new forkserver counts as reachable."""
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
    """Return whether it has ended, without reaping it: multiprocessing does that. Forget one that was reaped
    elsewhere.
    """
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
        # Its children would use this folder as their own.
        config["tempdir"] = before


def _new_folder() -> str:
    """Return a new private folder whose path is short enough for a socket. Raise OSError."""
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
        # Try it: a full disk may still have room for a folder, the path may be too long for a socket, and some file
        # systems have no sockets.
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
        shutil.rmtree(folder, ignore_errors=True)  # a clean-up program may have removed it already
