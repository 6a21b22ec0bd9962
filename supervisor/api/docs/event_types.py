"""The types of events in streams, for the API's description."""

from __future__ import annotations

from typing import Any

EVENT_TYPES: tuple[tuple[str, str, str], ...] = (
    ("job.queued", "task, labels", "Always the first."),
    ("job.starting", "", "Its processes are being started."),
    ("job.running", "pid", "The task runs."),
    ("job.phase", "phase, detail?", "What it is doing: startup, tool, llm or cleanup."),
    ("job.progress", "done, total?, message?", "How far it has got."),
    ("job.output", "stream, text", "What it printed, to stdout, stderr or its terminal."),
    ("job.log", "level, message, fields", "What it logged."),
    ("job.resource", "action, kind, name", "A terminal, browser, file, directory or process was acquired or released."),
    (
        "job.stuck",
        "rule, words, stack, note",
        "It shows no sign of life, or does not end; the stack shows where it hangs.",
    ),
    ("job.unstuck", "rule", "It shows signs of life again."),
    ("cancel.requested", "reason, budget_s", "It is being stopped, for this reason."),
    ("cancel.acknowledged", "", "The task has noticed, and unwinds."),
    ("cancel.signalled", "signal, pids", "Its processes got the next signal."),
    ("cancel.unproven", "survivors", "The budget is over and processes are left. The sweep continues."),
    ("cancel.verified", "the cancellation", "No process is left, and this is the proof."),
    ("job.succeeded", "result", "Always the last: one of these."),
    ("job.failed", "error", ""),
    ("job.cancelled", "cancellation", ""),
    ("job.timed_out", "cancellation", ""),
    ("job.lost", "", "Its server died."),
    ("stream.gap", "from, to", "Not numbered: these events are no longer kept."),
    ("stream.closing", "", "Not numbered: the server ends the stream before the job is over."),
)
"""The type, the fields besides id, job_id, type and at, and the meaning."""

FRAME_SCHEMA: dict[str, Any] = {
    "title": "Frame",
    "description": "A frame of the stream. `id` is missing where events are not numbered.",
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[1-9][0-9]*$"},
        "event": {"enum": [name for name, _, _ in EVENT_TYPES]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {
                "type": "object",
                "properties": {
                    "id": {"type": "integer", "minimum": 1},
                    "job_id": {"type": "string"},
                    "type": {"type": "string"},
                    "at": {"type": "string", "format": "date-time"},
                },
                "required": ["type"],
            },
        },
    },
    "required": ["event", "data"],
}
"""JSON Schema of a frame, with its three fields as those of an object."""
