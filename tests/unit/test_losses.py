"""The record of a lost job, for each thing that can be known about its end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from supervisor.engine.report import Loss
from supervisor.guardian import offline_proof
from supervisor.guardian.handle import Identity
from supervisor.node.cleanup.attempt_records import Note
from supervisor.node.cleanup.losses import losses_of

BOOT = "this boot"
NOTE = Note(BOOT, "c" * 32, "job", (Identity(7, 1), Identity(8, 2)))


def loss(folder: Path, note: Note = NOTE, *, ended: set[int] | None = None, left: frozenset[int] = frozenset()) -> Loss:
    return losses_of([(folder / "a.json", note)], boot_id=BOOT, ended={"job": ended or set()}, left=left)["job"]


def leave_a_word(folder: Path) -> None:
    (folder / "a.json").write_text("{}")
    fd = os.open(folder, os.O_RDONLY)
    assert offline_proof.leave(fd, "a", "echild", 5)
    os.close(fd)


def test_a_last_word_has_the_time_and_the_proof(tmp_path: Path) -> None:
    leave_a_word(tmp_path)
    known = loss(tmp_path)
    assert (known.proof, "5 processes" in known.words) == ("echild", True)
    assert known.gone_at == json.loads((tmp_path / "a.gone").read_text())["gone_at"]


def test_what_recovery_ended_is_counted(tmp_path: Path) -> None:
    leave_a_word(tmp_path)  # and yet there was something: what was seen later counts
    known = loss(tmp_path, ended={11, 12})
    assert (known.proof, "found 2 of its processes" in known.words) == (None, True)
    assert known.gone_at is not None


def test_what_would_not_end_is_never_called_gone(tmp_path: Path) -> None:
    leave_a_word(tmp_path)
    known = loss(tmp_path, ended={11}, left=frozenset({12}))
    assert (known.gone_at, known.proof) == (None, None)
    assert "would not end" in known.words


def test_a_restart_of_the_machine_ended_everything(tmp_path: Path) -> None:
    known = loss(tmp_path, Note("another", NOTE.cookie, "job", NOTE.processes))
    assert (known.gone_at, "machine was restarted" in known.words) == (None, True)


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", '{"gone_at": 1}', '{"gone_at": "x", "proof": 1, "processes": 2}']
)
def test_without_a_word_that_can_be_read_nothing_is_claimed(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "a.gone").write_text(text)
    known = loss(tmp_path)
    assert (known.gone_at, known.proof) == (None, None)
    assert "left no word" in known.words


def test_no_word_is_left_for_an_attempt_without_a_record(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    assert not offline_proof.leave(fd, "a", "echild", 5)
    os.close(fd)
    assert list(tmp_path.iterdir()) == []
