"""The records that a server keeps of its attempts, so that the next server on the same STATE_DIR can find their
processes.

There is a file for the server, with the cookie that its children have in their environment, and one for each attempt
with a job, with the processes that matter. They are renamed into place and not synced to the disk: they survive the
death of any process, and after a power cut no process is left that would have to be found.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from supervisor.boot import boot_id
from supervisor.guardian.handle import Handle, Identity
from supervisor.guardian.offline_proof import RECORD_SUFFIX, SUFFIX, name_of
from supervisor.guardian.proc import read_stat
from supervisor.node.storage.folder import Folder

_COOKIE_BYTES = 16

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Note:
    """One file. For a server (`job_id` is None) `processes` is the server itself, for an attempt its guardian and
    runner.
    """

    boot_id: str
    cookie: str
    job_id: str | None
    processes: tuple[Identity, ...]

    @classmethod
    def parse(cls, text: str) -> Note:
        """Raise ValueError for a file that no server of ours has written."""
        try:
            fields = json.loads(text)
            processes = tuple(Identity(int(one["pid"]), int(one["start_ticks"])) for one in fields["processes"])
            note = cls(fields["boot_id"], fields["cookie"], fields["job_id"], processes)
        except (KeyError, TypeError) as exc:
            raise ValueError(f"it has no usable {exc}") from None
        if len(note.cookie) != 2 * _COOKIE_BYTES:
            raise ValueError("its cookie is not one")
        return note


class Later(Protocol):
    """Schedules a slow disk operation. Calls with the same key are made in order."""

    def __call__(self, function: Callable[..., None], /, *args: Any, key: str, place: str) -> object: ...


def _at_once(function: Callable[..., None], /, *args: Any, key: str, place: str) -> None:
    function(*args)


class AttemptRecords:
    """The folder `attempts` in STATE_DIR. `keep` and `drop` never block and never raise.

    Records that cannot be written now are written by `look`; until then `folder.problem` says why.
    """

    def __init__(self, folder: Path, later: Later = _at_once) -> None:
        self.folder = Folder(folder)
        self._later = later
        self._boot_id = boot_id()
        self._notes: dict[str, Note] = {}
        """The records of this server that the folder should contain, by file name."""
        self.cookie = secrets.token_hex(_COOKIE_BYTES)

    def open(self) -> list[tuple[Path, Note]]:
        """Create the folder and write the server's own record. Return the records of earlier servers. Raise OSError."""
        self.folder.open()
        earlier = list(self._read())
        stat = read_stat(os.getpid())
        if stat is None:
            raise FileNotFoundError(errno.ENOENT, "/proc does not show this process", "/proc")
        name, note = self._name(), Note(self._boot_id, self.cookie, None, (Identity.shown_by(stat),))
        self._notes[name] = note
        self._write(name, note)
        return earlier

    def keep(self, job_id: str, guardian: Handle, runner: Handle) -> None:
        """Record that an attempt has a job from now on."""
        processes = tuple(Identity(handle.pid, handle.start_ticks) for handle in (guardian, runner))
        name, note = self._name(guardian), Note(self._boot_id, self.cookie, job_id, processes)
        self._notes[name] = note
        self._soon(self._write, name, note)

    def drop(self, guardian: Handle) -> None:
        """Remove the record of an attempt of which nothing is left."""
        name = self._name(guardian)
        self._notes.pop(name, None)
        self._soon(self._remove, name)

    def look(self) -> None:
        """Write missing records and remove outdated ones of this server. Raise nothing."""
        self.folder.look(self._correct_records)

    def _correct_records(self) -> None:
        there = {path.name for path in self.folder.path.glob(f"{self.cookie}*.json")}
        wanted = self._notes.copy()
        for name in wanted.keys() - there:
            self._write(name, wanted[name])
        for name in there - wanted.keys():
            self._remove(name)

    def close(self) -> None:
        """Remove the server's record, unless an attempt was not proven to have ended: the next server searches for
        it.
        """
        self.look()
        if self._notes.keys() == {self._name()}:
            self._try(self._remove, self._name())

    def _soon(self, function: Callable[..., None], *args: Any) -> None:
        self._later(self._try, function, *args, key=self.folder.name, place=self.folder.name)

    def _try(self, function: Callable[..., None], *args: Any) -> None:
        # The job must not fail because of its record: its processes can also be found by the cookie.
        try:
            function(*args)
        except OSError as exc:
            self.folder.tell(f"cannot write it: {exc.strerror}")

    def _name(self, guardian: Handle | None = None) -> str:
        name = self.cookie if guardian is None else name_of(self.cookie, guardian.pid, guardian.start_ticks)
        return name + RECORD_SUFFIX

    def _write(self, name: str, note: Note) -> None:
        path = self.folder.path / name
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(note)), encoding="ascii")
        fresh.rename(path)

    def _remove(self, name: str) -> None:
        (self.folder.path / name).unlink(missing_ok=True)

    def _read(self) -> Iterator[tuple[Path, Note]]:
        for path in self.folder.path.iterdir():
            if path.suffix == SUFFIX and path.with_suffix(RECORD_SUFFIX).exists():
                continue  # a guardian's proof of that attempt, which is read with its record
            try:
                note = Note.parse(path.read_text(encoding="ascii"))
            except ValueError as exc:
                if path.suffix != ".new":  # a server died while it wrote that file
                    log.warning("attempt_record_refused", path=str(path), reason=str(exc))
                path.unlink()
            else:
                yield path, note
