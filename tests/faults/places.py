"""Where the server runs: at each level of containment, as each kind of user, and where there is next to nothing."""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.levels import why_no_cgroup, why_no_namespace
from tests.support.server import RunningServer

NOBODY = pwd.getpwnam("nobody")
PIDS = Path("/sys/fs/cgroup/pids")
"""The controller of version 1: with version 2 alone this process's own cgroup would have to pass it down."""
PIDS_MAX = 80
MAX_DESCRIPTORS = 160

_SHOW_INTERPRETER = """
mount --make-rprivate /
mount --bind "$2" /mnt
mount -t tmpfs -o mode=755 hidden "$1"
mkdir -p "$2"
mount --bind /mnt "$2"
shift 2
exec "$@"
"""
"""For a user who may not pass the folder $1, where the interpreter's own folder $2 is: in a mount namespace, $1 becomes
a folder that has nothing but that."""
_IN_PIDS_CGROUP = f"""
echo $$ > "$1/cgroup.procs"
shift
ulimit -n {MAX_DESCRIPTORS}
exec unshare --pid --fork --kill-child --mount-proc --ipc "$@"
"""


def _always() -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Slot:
    """How a server is started. `why_not` says why it cannot be had here."""

    name: str
    flags: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    why_not: Callable[[], str | None] = _always
    owner: int = 0

    @contextlib.contextmanager
    def server(self) -> Iterator[tuple[RunningServer, int]]:
        """A server in a folder of its own that every user may pass, and its process id; killed if it will not end."""
        with tempfile.TemporaryDirectory(prefix="faults-") as name, self._prefix() as (prefix, pid_inside):
            folder = Path(name)
            folder.chmod(0o755)
            os.chown(folder, self.owner, -1)
            server = RunningServer(folder / "state", *self.flags, env=self.env, prefix=prefix, pid_inside=pid_inside)
            try:
                yield server, server.pid if pid_inside is None else _only_child(server.pid)
            finally:
                if server.process.poll() is None:
                    with contextlib.suppress(AssertionError):
                        server.stop()  # which kills it if it does not end
                else:
                    server.kill()

    @contextlib.contextmanager
    def _prefix(self) -> Iterator[tuple[list[str], int | None]]:
        yield [], None


class AsNobody(Slot):
    """An ordinary user who cannot gain privileges."""

    @contextlib.contextmanager
    def _prefix(self) -> Iterator[tuple[list[str], int | None]]:
        interpreter = Path(sys.executable).resolve()
        hidden = next((one for one in reversed(interpreter.parents) if not one.stat().st_mode & 0o001), None)
        show = ["unshare", "--mount", "sh", "-ec", _SHOW_INTERPRETER, "sh", str(hidden), str(interpreter.parents[1])]
        become = ["setpriv", "--reuid=nobody", f"--regid={NOBODY.pw_gid}", "--clear-groups"]
        become += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        yield (show if hidden is not None else []) + become, None


class InContainer(Slot):
    """Its own pid namespace, whose first process is the server; few processes, and few descriptors."""

    @contextlib.contextmanager
    def _prefix(self) -> Iterator[tuple[list[str], int | None]]:
        cgroup = PIDS / f"deadstop-faults-{uuid.uuid4().hex[:8]}"
        cgroup.mkdir()
        try:
            (cgroup / "pids.max").write_text(str(PIDS_MAX), encoding="ascii")
            yield ["sh", "-ec", _IN_PIDS_CGROUP, "sh", str(cgroup)], 1
        finally:
            # What was killed with its namespace may take a moment to leave.
            while (cgroup / "cgroup.procs").read_text(encoding="ascii"):
                os.sched_yield()
            cgroup.rmdir()


def _only_child(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(child)


def _why_no_pids() -> str | None:
    return None if os.access(PIDS, os.W_OK) else f"no controller of processes (cgroup version 1) at {PIDS}"


DEFAULT = Slot("default")
OTHERS = (
    Slot("subreaper", ("--containment", "subreaper")),
    Slot("cgroup", ("--containment", "cgroup"), why_not=why_no_cgroup),
    Slot("pidns", ("--containment", "pidns"), why_not=why_no_namespace),
    Slot("run-as", env={"DEADSTOP_RUN_AS": "nobody"}),
    AsNobody("nobody", owner=NOBODY.pw_uid),
    InContainer("container", why_not=_why_no_pids),
)
