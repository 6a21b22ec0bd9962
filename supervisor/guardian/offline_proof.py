"""The proof that a guardian leaves on the disk when its server has died: nothing of its job is left, since when, and
how that is known.

The server stores a record of each attempt (`attempt_records`) and removes it with the proof. A guardian that has lost
its server writes its own proof beside the record, where the next server finds it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from supervisor.guardian.environment import COOKIE
from supervisor.guardian.handle import Identity

SUFFIX = ".gone"
RECORD_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class OfflineProof:
    """`gone_at` is wall time in seconds; `processes` counts the processes that were ended after the server's death."""

    gone_at: float
    proof: str
    processes: int

    @classmethod
    def read(cls, path: Path) -> OfflineProof:
        """Raise ValueError or OSError if the file does not contain a guardian's proof."""
        fields = json.loads(path.read_text(encoding="ascii"))
        try:
            return cls(float(fields["gone_at"]), str(fields["proof"]), int(fields["processes"]))
        except (KeyError, TypeError) as exc:
            raise ValueError(f"it has no usable {exc}") from None


def name_of(cookie: str, guardian_pid: int, start_ticks: int) -> str:
    """Return the name, without a suffix, of the files about one attempt."""
    return f"{cookie}-{guardian_pid}-{start_ticks}"


def leave(folder_fd: int, name: str, proof: str, processes: int) -> bool:
    """Write the proof beside the record of the attempt. Return False if there is no such record. Raise OSError.

    The file is renamed into place, so that it exists completely or not at all.
    """
    try:
        os.stat(name + RECORD_SUFFIX, dir_fd=folder_fd)
    except FileNotFoundError:
        return False  # the attempt had no job, or the server has seen its end
    report = OfflineProof(time.time(), proof, processes)
    fresh = f"{name}.new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=folder_fd)
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(json.dumps(asdict(report)))
    os.rename(fresh, name + SUFFIX, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    return True


def open_folder(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None  # the server reports in /readyz what is wrong with the folder


def leave_for_next_server(folder_fd: int, proof: str, processes: int) -> None:
    """Write the proof of this guardian's own attempt, if the disk allows it.

    If it fails, the next server finds no proof, and says that the end of the job is unknown.
    """
    me = Identity.of(os.getpid())
    cookie = os.environ.get(COOKIE)
    if cookie is not None:
        with contextlib.suppress(OSError):
            leave(folder_fd, name_of(cookie, me.pid, me.start_ticks), proof, processes)
