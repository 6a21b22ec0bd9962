"""Input typed into a job waits for the job, within a bound, and a cancel request behind it is seen at once."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from runner import protocol
from runner.cancellation import Cancellation
from runner.codec import encode
from runner.protocol import CancelRequest, InputClosed, InputTaken, input_cost
from runner.watcher import Watch
from supervisor.core.jobs import stdin as job_input
from supervisor.core.jobs.model import JobRequest, State
from supervisor.engine.order import StdinChunk
from supervisor.errors import Conflict, InputFull


def an_input(**values: object) -> job_input.JobStdin:
    return job_input.JobStdin("j", JobRequest("shell", {"stdin": "open"} | values))


def give_often(typed: job_input.JobStdin, frame: StdinChunk) -> None:
    for _ in range(100_000):
        typed.give(frame, State.RUNNING)


# --- the supervisor's side


def test_what_comes_before_the_task_runs_is_kept_in_order() -> None:
    sent: list[str] = []

    def send(frame: StdinChunk) -> int:
        sent.append(frame.text)
        return 0

    typed = an_input()
    for text in ("a", "b"):
        typed.give(StdinChunk(text), State.QUEUED)
    typed.connect(send)
    typed.give(StdinChunk("c"), State.RUNNING)
    assert sent == ["a", "b", "c"]
    assert typed.pending_bytes == 3 * input_cost("x")
    typed.taken(2 * input_cost("x"))
    assert typed.pending_bytes == input_cost("x")


def test_more_than_the_bound_is_refused_until_some_was_taken() -> None:
    typed = an_input()
    text = "ä" * 30_000
    with pytest.raises(InputFull):
        give_often(typed, StdinChunk(text))
    assert typed.pending_bytes <= job_input.MAX_PENDING_BYTES
    typed.taken(input_cost(text))
    typed.give(StdinChunk(text), State.RUNNING)


def test_nothing_is_free() -> None:
    typed = an_input()
    with pytest.raises(InputFull):
        give_often(typed, StdinChunk(rows=1, columns=1))


def test_a_job_that_lies_about_what_it_has_taken_gains_nothing() -> None:
    typed = an_input()
    on_the_way = 0

    def send(frame: StdinChunk) -> int:
        nonlocal on_the_way
        on_the_way += len(frame.text)
        typed.taken(10**9)
        return on_the_way

    typed.connect(send)
    with pytest.raises(Conflict, match="does not read"):
        give_often(typed, StdinChunk("x" * 1000))
    assert on_the_way <= job_input.MAX_PENDING_BYTES + 1000


@pytest.mark.parametrize(
    ("values", "state", "why"),
    [
        ({"stdin": "closed"}, State.RUNNING, "not started with"),
        ({}, State.SUCCEEDED, "has ended"),
        ({}, State.CANCELLING, "being stopped"),
    ],
)
def test_who_cannot_be_typed_into(values: dict[str, object], state: State, why: str) -> None:
    with pytest.raises(Conflict, match=why):
        an_input(**values).give(StdinChunk("x"), state)


def test_after_the_end_and_after_closing_nothing_is_taken() -> None:
    typed = an_input()
    typed.give(StdinChunk("last", eof=True), State.QUEUED)
    with pytest.raises(Conflict, match="eof"):
        typed.give(StdinChunk("x"), State.QUEUED)
    closed = an_input()
    closed.close("nobody reads")
    with pytest.raises(Conflict, match="nobody reads"):
        closed.give(StdinChunk("x"), State.RUNNING)


def test_pipes_have_no_size() -> None:
    with pytest.raises(Conflict, match="no size"):
        an_input(terminal=False).give(StdinChunk(rows=1, columns=1), State.RUNNING)


# --- the runner's side


class NeverSet:
    def is_set(self) -> bool:
        return False


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    made = Cancellation(lambda: None)
    made.left = True  # there is no task here
    yield made
    os.close(made._wake_read)
    os.close(made._wake_write)


def test_an_ask_behind_all_the_input_that_there_can_be_acts_at_once(
    ends: tuple[socket.socket, socket.socket], cancellation: Cancellation
) -> None:
    got: list[protocol.StdinChunk] = []
    watch = Watch(NeverSet(), ends[1], cancellation, on_input=got.append)  # type: ignore[arg-type]
    # As many frames as the bound lets through, of the smallest kind: the most work there can be.
    frames = [protocol.StdinChunk("x")] * (job_input.MAX_PENDING_BYTES // input_cost("x"))
    data = b"".join(map(encode, frames)) + encode(CancelRequest())
    sender = threading.Thread(target=ends[0].sendall, args=(data,))
    watch.start()
    began = time.process_time()  # not the wall clock, because other programs' work must not count
    sender.start()
    assert cancellation.wait(5)
    assert time.process_time() - began < 0.25, "an ask must not wait for the ladder's first step"
    sender.join()
    watch.join()
    assert len(got) == len(frames)


def test_a_frame_cut_anywhere_does_not_count_as_a_cancel(
    ends: tuple[socket.socket, socket.socket], cancellation: Cancellation
) -> None:
    arrived = threading.Event()
    line = encode(protocol.StdinChunk("häß", rows=3, columns=4))
    watch = Watch(
        NeverSet(),  # type: ignore[arg-type]
        ends[1],
        cancellation,
        rest=line[:7],
        on_input=lambda frame: arrived.set() if frame == protocol.StdinChunk("häß", rows=3, columns=4) else None,
    )
    watch.start()
    for byte in line[7:]:
        assert not cancellation.requested
        ends[0].send(bytes([byte]))
    assert arrived.wait(5)
    assert not cancellation.requested
    ends[0].close()  # the supervisor is gone
    assert cancellation.wait(5)
    watch.join()


def test_an_ask_that_came_right_behind_the_order(
    ends: tuple[socket.socket, socket.socket], cancellation: Cancellation
) -> None:
    watch = Watch(NeverSet(), ends[1], cancellation, rest=encode(protocol.StdinChunk("x")) + encode(CancelRequest()))  # type: ignore[arg-type]
    watch.run()
    assert cancellation.requested


def test_the_queue_says_what_was_taken_and_when_it_closed() -> None:
    from runner.stdin import JobStdin

    said: list[object] = []
    typed = JobStdin(said.append)
    try:
        typed.put(protocol.StdinChunk("a"))
        typed.put(protocol.StdinChunk("", eof=True))
        first, second = typed.take(), typed.take()
        assert first is not None
        assert second is not None
        assert (first.data, second.eof, typed.take()) == (b"a", True, None)
        typed.taken(first)
        typed.close()
        typed.close()
        typed.put(protocol.StdinChunk("late"))
        assert typed.take() is None
        assert said == [InputTaken(input_cost("a")), InputClosed()]
    finally:
        os.close(typed._read)
        os.close(typed._write)
