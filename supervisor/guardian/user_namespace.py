"""A user namespace that maps IDs to themselves, which an ordinary user needs to create a pid namespace.

For root every ID is mapped to itself, so that files keep their owners and a job may change users. An ordinary user may
map only itself: every other user is shown as the overflow user. See user_namespaces(7).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from runner import posix
from supervisor.guardian import namespaces, procfs

_EX_SOFTWARE = 70


def unshare_user_and_pid() -> None:
    """Move this process into a new user namespace, and its next child into a new pid namespace. Raise OSError."""
    if os.geteuid() != 0:
        uid, gid = os.geteuid(), os.getegid()
        namespaces.unshare(namespaces.NEWUSER | namespaces.NEWPID, "make a user and a pid namespace")
        # The maps of a process that is not dumpable belong to root.
        posix.set_dumpable(True)
        # An ordinary user may map only itself, and only once it has given up setgroups(2). See user_namespaces(7).
        _write("self/setgroups", "deny")
        _write("self/uid_map", f"{uid} {uid} 1")
        _write("self/gid_map", f"{gid} {gid} 1")
        posix.set_dumpable(False)
        return
    with _mapped_from_outside():
        namespaces.unshare(namespaces.NEWUSER | namespaces.NEWPID, "make a user and a pid namespace")


@contextmanager
def _mapped_from_outside() -> Iterator[None]:
    """Map every ID to itself once the block has called unshare: files keep their owners, and a job may change users.

    Mapping more than one ID needs a capability outside, which this process no longer has then. So a child that stays
    outside does it.
    """
    pid = os.getpid()
    go_read, go_write = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(go_write)
        _map_all_ids(pid, go_read)
    os.close(go_read)
    try:
        yield
        os.write(go_write, b"!")
    finally:
        os.close(go_write)
        _, status = os.waitpid(child, 0)
    if status != 0:
        number = os.waitstatus_to_exitcode(status)
        raise OSError(number, f"cannot map user ids: {os.strerror(number)}")


def _map_all_ids(pid: int, go_fd: int) -> NoReturn:
    number = _EX_SOFTWARE
    try:
        if os.read(go_fd, 1):
            for kind in ("uid_map", "gid_map"):
                _write(f"{pid}/{kind}", identical((procfs.read(f"self/{kind}") or b"").decode("ascii")))
        number = 0
    except OSError as exc:
        number = exc.errno or _EX_SOFTWARE
    finally:
        os._exit(number)


def identical(id_map: str) -> str:
    """Return a map for a child namespace in which every ID of `id_map` is itself."""
    lines = (line.split() for line in id_map.splitlines())
    return "".join(f"{inside} {inside} {count}\n" for inside, _outside, count in lines)


def _write(path: str, text: str) -> None:
    # One write(2): the kernel accepts a map only as a whole.
    fd = procfs.open_file(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode("ascii"))
    except OSError as exc:
        raise OSError(exc.errno, f"cannot write /proc/{path}: {exc.strerror}") from exc
    finally:
        os.close(fd)
