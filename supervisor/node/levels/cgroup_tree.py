"""The server's own subtree of cgroups, below the cgroup that it was started in.

    <where the server was started>
    └─ deadstop-<hash of STATE_DIR>     no process; its controllers are enabled for what is below
       ├─ server                        the server and its guardians, if the kernel requires that
       ├─ attempt-1                     a runner and all below it
       └─ attempt-2

A cgroup that passes controllers down may contain no process itself ("no internal process constraint"), so the server
must leave the cgroup it was started in to get controllers. Only names that are created here are ever killed or removed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
from pathlib import Path

from supervisor.boot import boot_id
from supervisor.guardian import procfs
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.cgroup_files import read, write

CONTROLLERS = ("memory", "pids", "cpu")
SERVER = "server"
_PREFIX = "deadstop-"


class NoCgroup(Exception):
    """Raised when no own cgroup can be created. The message says why."""


def tree_name(state_dir: Path) -> str:
    """Derive the name from the folder itself, which one server at a time has locked, by whatever path. Raise OSError.

    A path would name another folder in another mount namespace, and one folder may have several paths.
    """
    try:
        folder = state_dir.stat()
    except FileNotFoundError:
        named = str(state_dir.resolve())  # no server has locked it, so the name is unused
    else:
        named = f"{boot_id()} {folder.st_dev} {folder.st_ino}"
    return _PREFIX + hashlib.sha256(named.encode()).hexdigest()[:12]


def own_cgroup(mountinfo: str, membership: str) -> Path:
    """Return the folder of this process's cgroup, from the text of /proc/self/mountinfo and /proc/self/cgroup.

    cgroup2 may be mounted alone (unified) or beside version 1 (hybrid). Raise NoCgroup.
    """
    mounts = [mount for line in mountinfo.splitlines() if (mount := _cgroup2_mount(line)) is not None]
    if not mounts:
        raise NoCgroup("no cgroup2 file system is mounted")
    own = next((line.removeprefix("0::") for line in membership.splitlines() if line.startswith("0::")), None)
    if own is None:
        raise NoCgroup("this process is in no cgroup of version 2")
    for root, mount_point in mounts:
        # "/.." is how the kernel shows what is above this process's cgroup namespace.
        if "/.." not in own + root and Path(own).is_relative_to(root):
            return Path(mount_point) / Path(own).relative_to(root)
    raise NoCgroup(f"the server's cgroup {own} is outside of what is mounted")


def _cgroup2_mount(line: str) -> tuple[str, str] | None:
    # 36 35 98:0 /root /mount/point options [tags…] - type source options, see proc_pid_mountinfo(5)
    before, _, after = line.partition(" - ")
    if after.split(" ", 1)[0] != "cgroup2":
        return None
    fields = before.split(" ")
    return _unescape(fields[3]), _unescape(fields[4])


def _unescape(path: str) -> str:
    for escaped, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(escaped, plain)
    return path


class CgroupTree:
    """The subtree of one server. Use `find`, and `close` when every attempt has ended."""

    def __init__(self, base: Path, name: str) -> None:
        self._base = base
        self.path = base / name
        self.controllers: frozenset[str] = frozenset()
        """The members of CONTROLLERS that can set limits."""
        self.left_over = 0
        """The number of processes of an earlier server that were found in it and ended."""
        self._moved = False
        self._numbers = itertools.count(1)

    @classmethod
    def find(cls, state_dir: Path, mountinfo: Path) -> CgroupTree:
        """Create the server's subtree, or take over what an earlier server left of it. Raise NoCgroup."""
        try:
            base = own_cgroup(_text(mountinfo), _text(Path("/proc/self/cgroup")))
            name = tree_name(state_dir)
        except OSError as exc:
            raise NoCgroup(f"cannot read {exc.filename}: {exc.strerror}") from None
        if base.name == SERVER and base.parent.name == name:
            base = base.parent.parent  # this server was started inside the cgroup of an earlier one that had moved
        tree = cls(base, name)
        try:
            tree.path.mkdir(exist_ok=True)
        except OSError as exc:
            raise NoCgroup(f"cannot make {tree.path}: {exc.strerror}") from None
        return tree

    def sweep(self) -> int:
        """End and remove every leaf that does not contain this process. Return the number of ended processes."""
        killed = 0
        folders = [path for path in self.path.iterdir() if path.is_dir()] if self.path.is_dir() else []
        for folder in folders:
            leaf = AttemptCgroup(str(folder))
            try:
                pids = leaf.pids()
            except OSError:
                if folder.name == SERVER:
                    continue  # this process may be in it
                pids = []  # they are ended nevertheless
            if os.getpid() not in pids:
                killed += len(pids)
                leaf.remove()
        return killed

    def enable_controllers(self) -> None:
        """Enable as many CONTROLLERS as the kernel allows. Move the server if that is required."""
        offered = [name for name in CONTROLLERS if name in _words(self._base, "cgroup.controllers")]
        missing = [name for name in offered if name not in _words(self._base, "cgroup.subtree_control")]
        if missing and not _is_root(self._base):
            self._move_away()
        self.controllers = frozenset(name for name in offered if self._enable(name, pass_down=name in missing))
        if self._moved and not self.controllers:
            self._move_back()

    def _enable(self, name: str, *, pass_down: bool) -> bool:
        try:
            if pass_down:
                write(f"{self._base}/cgroup.subtree_control", f"+{name}")
            write(f"{self.path}/cgroup.subtree_control", f"+{name}")
        except OSError:
            return False  # the cgroup has other processes too, or was not delegated: the guardian samples
        return True

    def _move_away(self) -> None:
        server = self.path / SERVER
        server.mkdir(exist_ok=True)
        AttemptCgroup(str(server)).add(os.getpid())
        self._moved = True

    def _move_back(self) -> None:
        for name in self.controllers:
            for folder in (self.path, self._base):
                with contextlib.suppress(OSError):  # another cgroup below uses it
                    write(f"{folder}/cgroup.subtree_control", f"-{name}")
        with contextlib.suppress(OSError):  # it passes controllers down to other cgroups by now
            for pid in AttemptCgroup(str(self.path / SERVER)).pids():
                AttemptCgroup(str(self._base)).add(pid)  # this process, and multiprocessing's helpers
            self._moved = False

    def new_leaf(self) -> AttemptCgroup:
        """Create an empty leaf for one attempt. Raise OSError."""
        folder = self.path / f"attempt-{next(self._numbers)}"
        folder.mkdir()
        return AttemptCgroup(str(folder))

    def close(self) -> bool:
        """Remove every leaf and the subtree. Return False if the kernel still uses a part of it."""
        self.sweep()
        if self._moved:
            self._move_back()
        return not self._moved and AttemptCgroup(str(self.path)).remove()


def _text(path: Path) -> str:
    """Raise OSError. Mounts of an earlier server's job over /proc have no effect."""
    if not path.is_relative_to("/proc"):
        return path.read_text(encoding="utf-8")
    text = procfs.read(str(path.relative_to("/proc")))
    if text is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return text.decode()


def _is_root(folder: Path) -> bool:
    return not (folder / "cgroup.type").exists()


def _words(folder: Path, file: str) -> list[str]:
    return read(f"{folder}/{file}").split()
