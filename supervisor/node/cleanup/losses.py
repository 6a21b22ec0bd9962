"""The end of the jobs that an earlier server lost: how the processes of each ended, and when."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from supervisor.engine.report import Loss
from supervisor.guardian.offline_proof import SUFFIX, OfflineProof
from supervisor.node.cleanup.attempt_records import Note


def losses_of(
    records: Iterable[tuple[Path, Note]], *, boot_id: str, ended: Mapping[str, set[int]], left: frozenset[int]
) -> dict[str, Loss]:
    """Return what is known of each job in these records, by ID.

    `ended` and `left` are the results of this server's search: processes that it ended, by job, and those that did not
    end.
    """
    return {
        note.job_id: _loss(path, note, is_this_boot=note.boot_id == boot_id, ended=ended, left=left)
        for path, note in records
        if note.job_id is not None
    }


def _loss(path: Path, note: Note, *, is_this_boot: bool, ended: Mapping[str, set[int]], left: frozenset[int]) -> Loss:
    assert note.job_id is not None
    if not is_this_boot:
        return Loss("the machine was restarted, and its processes ended with it")
    found = len(ended.get(note.job_id, ()))
    if left:
        return Loss(f"the next server ended {found} of its processes, and {len(left)} processes would not end")
    word = _offline_proof(path)
    if found:
        return Loss(f"the next server found {found} of its processes and ended them", time.time())
    if word is not None:
        words = f"its guardian ended what was left of it ({word.processes} processes seen) and saw that nothing is left"
        return Loss(words, word.gone_at, word.proof)
    return Loss("its guardian left no word, and the next server found none of its processes")


def _offline_proof(path: Path) -> OfflineProof | None:
    try:
        return OfflineProof.read(path.with_suffix(SUFFIX))
    except (OSError, ValueError):
        return None  # there is none, or it is incomplete after a power cut: then nothing is known
