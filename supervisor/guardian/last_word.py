"""What a guardian leaves on the disk when its server has died: that nothing of its job is left, since when, and how
that is known.

The server wrote down the attempt (`attempt_records`), and removes that record with the proof. So a guardian that has
lost its server writes its own proof beside the record, where the next server finds it.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

SUFFIX = ".gone"
RECORD_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class LastWord:
    """`gone_at` is wall time in seconds; `processes` counts those that were ended after the server's death."""

    gone_at: float
    proof: str
    processes: int

    @classmethod
    def read(cls, path: Path) -> LastWord:
        """Raise ValueError or OSError if there is nothing that a guardian has written."""
        fields = json.loads(path.read_text(encoding="ascii"))
        try:
            return cls(float(fields["gone_at"]), str(fields["proof"]), int(fields["processes"]))
        except (KeyError, TypeError) as exc:
            raise ValueError(f"it has no usable {exc}") from None


def name_of(cookie: str, guardian_pid: int, start_ticks: int) -> str:
    """Return the name, without a suffix, of the files about one attempt."""
    return f"{cookie}-{guardian_pid}-{start_ticks}"


def leave(folder_fd: int, name: str, proof: str, processes: int) -> bool:
    """Write the last word beside the record of the attempt. Return False if there is no such record.

    The file is renamed into place, so that it is there whole or not at all. Raise OSError.
    """
    try:
        os.stat(name + RECORD_SUFFIX, dir_fd=folder_fd)
    except FileNotFoundError:
        return False  # the attempt held no job, or the server still saw its end
    word = LastWord(time.time(), proof, processes)
    fresh = f"{name}.new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=folder_fd)
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(json.dumps(asdict(word)))
    os.rename(fresh, name + SUFFIX, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    return True
