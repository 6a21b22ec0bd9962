"""What a server writes down about its attempts, so that the next one on the same STATE_DIR can find what they left.

A file for the server, with the cookie that its children carry in their environment, and one for each attempt that
holds a job, with the processes that matter. They are renamed into place and not flushed to the disk: they survive the
death of any process, and of a power cut nothing is left that would have to be found.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from supervisor.containment.handle import Handle, Identity
from supervisor.posix.proc import boot_id, read_stat

_COOKIE_BYTES = 16

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Note:
    """One file. Of a server (`job_id` is None) `processes` is the server itself, of an attempt guardian and runner."""

    boot_id: str
    cookie: str
    job_id: str | None
    processes: tuple[Identity, ...]

    @classmethod
    def parse(cls, text: str) -> Note:
        """Raises ValueError for what no server of ours has written."""
        try:
            fields = json.loads(text)
            processes = tuple(Identity(int(one["pid"]), int(one["start_ticks"])) for one in fields["processes"])
            note = cls(fields["boot_id"], fields["cookie"], fields["job_id"], processes)
        except (KeyError, TypeError) as exc:
            raise ValueError(f"it has no usable {exc}") from None
        if len(note.cookie) != 2 * _COOKIE_BYTES:
            raise ValueError("its cookie is not one")
        return note


class AttemptRecords:
    """The folder `attempts` in STATE_DIR. Its methods take some microseconds, on a full disk they only log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._boot_id = boot_id()
        self.cookie = secrets.token_hex(_COOKIE_BYTES)

    def open(self) -> list[tuple[Path, Note]]:
        """Make the folder and say who this server is. What earlier servers wrote; raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        earlier = list(self._read())
        pid = os.getpid()
        stat = read_stat(pid)
        assert stat is not None
        self._write(self._path(), Note(self._boot_id, self.cookie, None, (Identity(pid, stat.start_ticks),)))
        return earlier

    def keep(self, job_id: str, guardian: Handle, runner: Handle) -> None:
        """An attempt holds a job from now on."""
        processes = tuple(Identity(handle.pid, handle.start_ticks) for handle in (guardian, runner))
        try:
            self._write(self._path(guardian), Note(self._boot_id, self.cookie, job_id, processes))
        except OSError as exc:
            # Worth a word, not the job: what it leaves is still found by the cookie, by whoever may read it.
            log.warning("attempt_not_recorded", job_id=job_id, error=exc.strerror)

    def drop(self, guardian: Handle) -> None:
        """Nothing is left of the attempt."""
        self._path(guardian).unlink(missing_ok=True)

    def close(self) -> None:
        """The server ends. If an attempt was not proven gone, the next server looks for it."""
        if not list(self._folder.glob(f"{self.cookie}-*.json")):
            self._path().unlink(missing_ok=True)

    def _path(self, guardian: Handle | None = None) -> Path:
        name = self.cookie if guardian is None else f"{self.cookie}-{guardian.pid}-{guardian.start_ticks}"
        return self._folder / f"{name}.json"

    def _write(self, path: Path, note: Note) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(note)), encoding="ascii")
        fresh.rename(path)

    def _read(self) -> Iterator[tuple[Path, Note]]:
        for path in self._folder.iterdir():
            try:
                note = Note.parse(path.read_text(encoding="ascii"))
            except ValueError as exc:
                if path.suffix != ".new":  # one of those is what a server was writing when it died
                    log.warning("attempt_record_refused", path=str(path), reason=str(exc))
                path.unlink()
            else:
                yield path, note
