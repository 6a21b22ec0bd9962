"""Input from clients for a job with `"stdin": "open"`: kept until its task runs, then passed on.

No function here waits. Unread input is counted, and rejected beyond a limit, so that a job which does not read its
input delays no client and uses a known amount of memory.
"""

from __future__ import annotations

from collections.abc import Callable

from supervisor.core.jobs.model import JobRequest, State
from supervisor.engine.order import StdinChunk
from supervisor.errors import Conflict, InputFull

MAX_PENDING_BYTES = 256 * 1024
RETRY_AFTER_S = 1


class JobStdin:
    """Only for use on the event loop. The job's controller calls `connect` and the methods after it."""

    def __init__(self, job_id: str, request: JobRequest) -> None:
        self._job_id = job_id
        self._has_terminal = request.input.get("terminal") is not False
        self._refusal = None if request.input.get("stdin") == "open" else 'it was not started with "stdin": "open"'
        self._waiting: list[StdinChunk] = []
        self._send: Callable[[StdinChunk], int] | None = None
        self.pending_bytes = 0
        """Accepted input that the job has not read yet."""

    def give(self, frame: StdinChunk, state: State) -> None:
        """Send input to a job that is in `state`.

        Raise Conflict if the job will not read it, or InputFull if too much waits already.
        """
        refusal = _of_state(state) or self._refusal
        if refusal is None and frame.rows is not None and not self._has_terminal:
            refusal = "it runs on pipes, which have no size"
        if refusal is not None:
            raise Conflict(f"cannot write to job {self._job_id}: {refusal}")
        cost = frame.cost
        if self.pending_bytes + cost > MAX_PENDING_BYTES:
            raise self._full(self.pending_bytes)
        if self._send is None:
            self._waiting.append(frame)
        elif (unsent := self._send(frame)) > MAX_PENDING_BYTES:
            # Only a job that reports input as read although it is not gets here.
            self._refusal = f"it does not read its input: {unsent} bytes are on their way to it"
        self.pending_bytes += cost
        if frame.eof:
            self._refusal = "its input was ended by an eof"

    def connect(self, send: Callable[[StdinChunk], int]) -> None:
        """Pass on the input so far and all further input. `send` returns how many bytes still wait to be sent."""
        self._send = send
        for frame in self._waiting:
            send(frame)
        self._waiting.clear()

    def taken(self, cost: int) -> None:
        self.pending_bytes = max(0, self.pending_bytes - cost)

    def close(self, why: str) -> None:
        """Reject further input, because the job no longer reads it."""
        self._refusal = self._refusal or why
        self._waiting.clear()
        self._send = None

    def _full(self, pending_bytes: int) -> InputFull:
        return InputFull(
            f"cannot write to job {self._job_id}: it has not read {pending_bytes} bytes yet, "
            f"and at most {MAX_PENDING_BYTES} are kept; try again when it has",
            RETRY_AFTER_S,
        )


def _of_state(state: State) -> str | None:
    if state.terminal:
        return f"it has ended ({state})"
    return "it is being stopped" if state is State.CANCELLING else None
