"""A job's state from its events, and how it is put into words."""

from __future__ import annotations

from typing import Any

import pytest

from deadstop.client.events import Event
from supervisor.cli import formatting
from supervisor.cli.exits import ExitCode, for_end
from supervisor.cli.run.plain import about
from supervisor.cli.run.progress import JobProgress
from tests.support.stage import cancellation


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def after(*events: tuple[str, dict[str, Any]]) -> JobProgress:
    progress = JobProgress("j1", "shell", clock=Clock())
    for number, (type_, data) in enumerate(events, 1):
        progress.add(Event(type_, number, data))
    return progress


RUNNING: list[tuple[str, dict[str, Any]]] = [
    ("job.queued", {}),
    ("job.starting", {}),
    ("job.running", {"pid": 7}),
]


def test_it_knows_where_the_job_is() -> None:
    assert after().state == "submitting"
    assert after(*RUNNING[:1]).state == "queued"
    progress = after(*RUNNING, ("job.phase", {"phase": "tool"}))
    assert (progress.state, progress.pid, progress.phase) == ("running", 7, "tool")


def test_time_counts_from_running() -> None:
    clock = Clock()
    progress = JobProgress("j1", "shell", clock=clock)
    clock.now += 5
    progress.add(Event("job.running", 1, {"pid": 7}))
    clock.now += 2
    assert progress.elapsed_s == 2


def test_held_resources_come_and_go() -> None:
    acquired = {"action": "acquired", "kind": "terminal", "name": "/dev/pts/3"}
    progress = after(*RUNNING, ("job.resource", acquired))
    assert progress.held == [("terminal", "/dev/pts/3")]
    progress.add(Event("job.resource", 5, acquired | {"action": "released"}))
    progress.add(Event("job.resource", 6, acquired | {"action": "removed"}))
    assert progress.held == []


def test_the_workspace_that_every_job_has_is_not_shown() -> None:
    progress = after(*RUNNING)
    workspace = {"action": "acquired", "kind": "directory", "name": f"/state/workspaces/{progress.job_id}"}
    event = Event("job.resource", 5, workspace)
    progress.add(event)
    assert progress.held == []
    assert about(event, progress) is None


def test_the_ladder_has_an_entry_for_each_step_with_its_milliseconds() -> None:
    progress = after(
        *RUNNING,
        ("cancel.requested", {"reason": "api", "budget_s": 2.0}),
        ("cancel.signalled", {"signal": "SIGTERM", "pids": [1, 2], "ms": 251.0}),
        ("cancel.signalled", {"signal": "SIGKILL", "pids": [2], "ms": 1200.0}),
        ("cancel.signalled", {"signal": "SIGKILL", "pids": [2, 3], "ms": 1203.0}),
    )
    assert progress.state == "cancelling"
    assert progress.stop is not None
    steps = [(step.name, step.at_ms, len(step.pids)) for step in progress.stop.steps]
    assert steps == [("asked", 0.0, 0), ("SIGTERM", 251.0, 2), ("SIGKILL", 1200.0, 2)]


def test_milliseconds_come_from_the_times_of_events_that_have_none() -> None:
    progress = after(
        ("cancel.requested", {"reason": "api", "budget_s": 2.0, "at": "2026-01-01T00:00:00.100Z"}),
        ("cancel.acknowledged", {"at": "2026-01-01T00:00:00.112Z"}),
    )
    assert progress.stop is not None
    assert [round(step.at_ms) for step in progress.stop.steps] == [0, 12]


def test_the_record_of_the_verdict_corrects_the_ladder() -> None:
    progress = after(
        ("cancel.requested", {"reason": "api", "budget_s": 2.0}),
        ("cancel.signalled", {"signal": "SIGKILL", "pids": [2], "ms": 1300.0}),
        ("cancel.verified", cancellation(acknowledged_ms=9.0, killed_ms=1203.0, gone_ms=1212.0)),
    )
    assert progress.stop is not None
    assert progress.stop.verified
    assert [(step.name, step.at_ms) for step in progress.stop.steps] == [
        ("asked", 0.0),
        ("acknowledged", 9.0),
        ("SIGKILL", 1203.0),
        ("gone", 1212.0),
    ]


def test_survivors_are_kept_until_the_proof() -> None:
    progress = after(
        ("cancel.requested", {"reason": "api", "budget_s": 2.0}),
        ("cancel.unproven", {"survivors": [{"pid": 9, "name": "dd", "status": "disk-sleep"}]}),
    )
    assert progress.stop is not None
    assert formatting.survivors(progress.stop.survivors) == "1 survivor: 9 dd (disk-sleep)"
    progress.add(Event("cancel.verified", 3, cancellation()))
    assert progress.stop.survivors == []


def test_an_unknown_event_changes_nothing() -> None:
    progress = after(*RUNNING, ("job.future", {"x": 1}), ("other.thing", {}))
    assert progress.state == "running"


@pytest.mark.parametrize(
    ("type_", "data", "code"),
    [
        ("job.succeeded", {"result": None}, ExitCode.OK),
        ("job.failed", {"error": {"kind": "raised", "message": "no"}}, ExitCode.FAILED),
        ("job.cancelled", {"cancellation": cancellation()}, ExitCode.CANCELLED),
        ("job.timed_out", {"cancellation": cancellation()}, ExitCode.TIMED_OUT),
        ("job.cancelled", {"cancellation": cancellation(proof="none")}, ExitCode.UNPROVEN),
        ("job.cancelled", {}, ExitCode.UNPROVEN),
        ("job.lost", {}, ExitCode.UNPROVEN),
    ],
)
def test_exit_codes(type_: str, data: dict[str, Any], code: ExitCode) -> None:
    progress = after((type_, data))
    assert for_end(progress.state, progress.proof) is code


@pytest.mark.parametrize(
    ("state", "job", "line"),
    [
        ("succeeded", {"result": {"exit_code": 0}}, "succeeded"),
        ("succeeded", {"result": {"n": 3, "ä": None}}, 'succeeded: {"n": 3, "ä": null}'),
        ("failed", {"error": {"kind": "raised", "message": "two\nlines \x1b[31m"}}, "failed: two lines [31m"),
        (
            "cancelled",
            {"cancellation": cancellation()},
            "cancelled (on request): everything gone after 48 ms of 2,000; "
            "proof echild, cooperative, 3 processes seen, workspace removed",
        ),
        (
            "cancelled",
            {"cancellation": cancellation(proof="never_started", reason="client_disconnected")},
            "cancelled (client disconnected): never started, nothing to stop",
        ),
        ("lost", {}, "lost: its server ended before it did"),
    ],
)
def test_how_an_end_is_described(state: str, job: dict[str, Any], line: str) -> None:
    assert formatting.end(state, job) == line


def test_durations_and_counts() -> None:
    shown = [formatting.duration(s) for s in (0.0, 0.421, 12.34, 185, 7380, 400_000)]
    assert shown == ["0.00 s", "0.42 s", "12.3 s", "3 min 05 s", "2 h 03 min", "4 d 15 h"]
    assert [formatting.milliseconds(ms) for ms in (0, 0.94, 48.2, 1203.4)] == ["0 ms", "0.9 ms", "48 ms", "1,203 ms"]
    assert [formatting.count(n, "process") for n in (1, 3)] == ["1 process", "3 processes"]
    assert formatting.progress({"done": 3, "total": 10, "message": "resizing"}) == "3/10 resizing"
    assert formatting.progress({"done": 2.5, "total": None}) == "2.5"


def test_formatted_text_has_nothing_that_a_terminal_obeys() -> None:
    nasty = "a\x1b[31m\x9b2J\u202eb\tc"
    assert formatting.one_line(nasty) == "a [31m 2J b c"
    assert formatting.lines(f"  {nasty}\n  end") == "  a [31m 2J b   c\n  end"
    assert formatting.compact({"x": nasty}) == '{"x": "a\\u001b[31m\\u009b2J\\u202eb\\tc"}'
