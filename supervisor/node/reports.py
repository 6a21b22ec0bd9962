"""Translate a runner's messages to an engine's reports, shortened to the size of an event."""

from __future__ import annotations

import json
import signal

from runner import protocol
from runner.protocol import MAX_EVENT_BYTES
from runner.reporter import split_text
from runner.text import cut_text
from supervisor.engine.report import (
    Began,
    Heartbeat,
    JobError,
    LogReport,
    OutputReport,
    PhaseReport,
    ProgressReport,
    Report,
    ResourceReport,
    StdinClosed,
    StdinTaken,
    TaskReported,
)

MAX_SHORT_CHARS = 1000
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_STOP_NAMES = frozenset(number.name for number in _STOP_SIGNALS)
_STOP_EXIT_CODES = frozenset(128 + number for number in _STOP_SIGNALS)
"""Exit codes of a shell whose command was ended by such a signal."""


def report_of(frame: object, runner_pid: int) -> Report | None:  # noqa: PLR0912 - one case for each frame
    """Return the report that a frame stands for, None if there is none. `runner_pid` is the pid on the host."""
    match frame:
        case protocol.Heartbeat():
            return Heartbeat()
        case protocol.Running():
            return Began({"pid": runner_pid})
        case protocol.Result(result):
            return TaskReported(result=result)
        case protocol.Failure(kind, message, exit_code, signal_name, traceback):
            error = _bounded(JobError(kind, message, exit_code, signal_name, traceback))
            return TaskReported(error=error, by_stop_signal=is_by_stop_signal(error))
        case protocol.PhaseChange(phase, detail):
            return PhaseReport(phase, _cut(detail))
        case protocol.Progress(done, total, message):
            return ProgressReport(done, total, _cut(message))
        case protocol.Output(stream, text):
            # The runner splits output already, but a job may write frames of its own.
            return OutputReport(stream, tuple(split_text(text)))
        case protocol.Log(level, message, fields):
            if len(json.dumps(fields)) > MAX_EVENT_BYTES // 2:
                fields = {"dropped": "fields too large"}
            return LogReport(level, _cut(message) or "", fields)
        case protocol.ResourceChange(action, kind, name):
            return ResourceReport(action, kind, _cut(name) or "")
        case protocol.InputTaken(cost):
            return StdinTaken(cost)
        case protocol.InputClosed():
            return StdinClosed()
        case _:
            return None


def is_by_stop_signal(error: JobError) -> bool:
    """Return whether a command was ended by a signal that requests a stop."""
    return error.signal in _STOP_NAMES or error.exit_code in _STOP_EXIT_CODES


def _bounded(error: JobError) -> JobError:
    """Return the error, shortened to fit into an event."""
    return JobError(
        kind=error.kind,
        message=cut_text(error.message, MAX_EVENT_BYTES // 4),
        exit_code=error.exit_code,
        signal=_cut(error.signal),
        traceback=None if error.traceback is None else cut_text(error.traceback, MAX_EVENT_BYTES // 2, keep_end=True),
    )


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:MAX_SHORT_CHARS]
