"""What a runner's frames mean for its job: an event, a fact for the machine, or both."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from runner import protocol
from runner.protocol import MAX_EVENT_BYTES
from runner.reporter import split_text
from runner.text import cut_text
from supervisor.core.jobs import resources as ledger
from supervisor.core.jobs.inputs import Began, Emit, Input, Reported
from supervisor.core.jobs.model import Job, JobError

_MAX_SHORT = 1000


def interpret(frame: object, runner_pid: int) -> tuple[list[Emit], Input | None]:
    """The events that a frame becomes, and what it says about the job's life."""
    match frame:
        case protocol.Running():
            return [], Began(runner_pid)
        case protocol.Result(result):
            return [], Reported(result=result)
        case protocol.Failure(kind, message, exit_code, signal, traceback):
            return [], Reported(error=_bounded(JobError(kind, message, exit_code, signal, traceback)))
        case protocol.PhaseChange(phase, detail):
            return [Emit("job.phase", {"phase": phase, "detail": _cut(detail)})], None
        case protocol.Progress(done, total, message):
            return [Emit("job.progress", {"done": done, "total": total, "message": _cut(message)})], None
        case protocol.Output(stream, text):
            # The runner splits already, but a job may write frames of its own.
            return [Emit("job.output", {"stream": stream, "text": piece}) for piece in split_text(text)], None
        case protocol.Log(level, message, fields):
            if len(json.dumps(fields)) > MAX_EVENT_BYTES // 2:
                fields = {"dropped": "fields too large"}
            return [Emit("job.log", {"level": level, "message": _cut(message), "fields": fields})], None
        case protocol.ResourceChange(action, kind, name):
            return [Emit("job.resource", {"action": action, "kind": kind, "name": _cut(name)})], None
        case protocol.Heartbeat() | protocol.Described() | protocol.InputTaken() | protocol.InputClosed():
            return [], None  # no event
        case _:
            raise TypeError(f"cannot interpret {type(frame).__name__}")


def follow(job: Job, frame: object) -> Job:
    """The job with the phase and resources that a frame changed."""
    match frame:
        case protocol.PhaseChange(phase, _):
            return replace(job, phase=phase)
        case protocol.Running() if job.phase is not None:
            return replace(job, phase=None)  # the import is over
        case protocol.ResourceChange("acquired", kind, name):
            return replace(job, resources=ledger.acquired(job.resources, kind, name, datetime.now(UTC)))
        case protocol.ResourceChange("released", kind, name):
            return replace(job, resources=ledger.released(job.resources, kind, name, datetime.now(UTC)))
        case _:
            return job


def _bounded(error: JobError) -> JobError:
    """It fits into an event, whatever the job has written."""
    return replace(
        error,
        message=cut_text(error.message, MAX_EVENT_BYTES // 4),
        signal=_cut(error.signal),
        traceback=None if error.traceback is None else cut_text(error.traceback, MAX_EVENT_BYTES // 2, keep_end=True),
    )


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:_MAX_SHORT]
