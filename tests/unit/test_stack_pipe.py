"""Data that a job writes into its stack pipe does not block the thread that reads it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runner.protocol_stacks import STACK_END
from supervisor.node.inspect import stacks

DRIPS = 200
"""Ten times as long as a stack may take."""
MANY = 4 * (stacks.DRAIN_READS * 65536 + stacks.MAX_BYTES)
"""Bytes: four times as many as are thrown away before an answer and read of one."""


@contextmanager
def a_pipe(*, pause_s: float, size: int, count: int) -> Iterator[tuple[int, threading.Event]]:
    """Something writes `size` bytes, `count` times. The event is set once it has written all."""
    reading, writing = os.pipe()
    stop, done = threading.Event(), threading.Event()

    def drip() -> None:
        try:
            for _ in range(count):
                os.write(writing, b"x" * size)
                if stop.wait(pause_s):
                    return
            done.set()
        except BrokenPipeError:
            return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield reading, done
    finally:
        stop.set()
        os.close(reading)
        thread.join(10)
        os.close(writing)


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner that takes the signals, and whose answer is what stands in the pipe."""
    monkeypatch.setattr(stacks, "find_thread", lambda _pid, _name: 1)
    monkeypatch.setattr(stacks, "signal_thread", lambda _pid, _thread, _number: True)


@pytest.mark.parametrize(
    ("pause_s", "size", "count"), [(0.06, 1, DRIPS), (0.0, 4096, MANY // 4096)], ids=["drips", "pours"]
)
def test_bytes_do_not_renew_the_deadline(pause_s: float, size: int, count: int) -> None:
    with a_pipe(pause_s=pause_s, size=size, count=count) as (fd, done):
        stacks.take(os.getpid(), fd)
        assert not done.is_set(), "it was read for as long as there was something to read"


def test_a_stack_that_ends_is_read_to_its_end() -> None:
    text = b'Thread 0x1 (most recent call first):\n  File "x.py", line 1 in f\n' + STACK_END
    reading, writing = os.pipe()
    thread = threading.Timer(0.0, lambda: os.write(writing, text))
    try:
        # Behind what is drained: an answer to an earlier question.
        os.write(writing, b"old")
        original = stacks._drain

        def drain_and_answer(fd: int) -> None:
            original(fd)
            thread.start()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stacks, "_drain", drain_and_answer)
            assert 'File "x.py", line 1 in f' in stacks.take(os.getpid(), reading)
    finally:
        thread.join(10)
        os.close(reading)
        os.close(writing)
