"""A runner's messages to its guardian are read wherever they were cut, and invalid lines are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from runner.codec import encode
from runner.protocol import AskSeen, StopCommand
from supervisor.guardian.runner_messages import MAX_UNPARSED_BYTES, RunnerMessages


@pytest.fixture
def pipe() -> Iterator[tuple[RunnerMessages, int]]:
    read, write = os.pipe()
    yield RunnerMessages(read), write
    os.close(read)


def test_frames_are_read_wherever_they_were_cut(pipe: tuple[RunnerMessages, int]) -> None:
    words, write = pipe
    found: list[object] = []
    for byte in encode(AskSeen()) + encode(StopCommand(7)):
        os.write(write, bytes([byte]))
        found += words.read() or []
    assert found == [AskSeen(), StopCommand(7)]
    os.close(write)
    assert words.read() is None


def test_nonsense_hides_nothing_and_costs_a_known_amount_of_memory(pipe: tuple[RunnerMessages, int]) -> None:
    words, write = pipe
    os.write(write, b'nonsense\n{"type": "stop_command", "pid": "all"}\n' + encode(StopCommand(8)))
    assert words.read() == [StopCommand(8)]
    for _ in range(10):
        os.write(write, b"x" * MAX_UNPARSED_BYTES)
        assert words.read() == []
    assert len(words._unparsed) <= MAX_UNPARSED_BYTES
    os.close(write)
