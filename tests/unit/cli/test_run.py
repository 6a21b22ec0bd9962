"""The command `run` against a server over a real socket: what is printed where, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli, hello
from tests.support.fake_server import FakeServer, problem
from tests.support.stage import Stage, cancellation


def test_run_puts_output_on_stdout_and_the_course_on_stderr(cli: Cli, server: FakeServer) -> None:
    server.script = hello
    outcome = cli("run", "shell", "echo hello")
    assert outcome.code == 0
    assert outcome.out == "hello\nwörld\n"
    assert "deadstop: running, pid 4711\n" in outcome.err
    assert "deadstop: succeeded (" in outcome.err


def test_run_sends_what_the_user_meant(cli: Cli, server: FakeServer) -> None:
    server.script = hello
    cli("run", "shell", "make", "--timeout", "5", "--label", "team=a", "--id", "mine", "--input", '{"terminal": false}')
    assert server.jobs["mine"].body == {
        "id": "mine",
        "task": "shell",
        "input": {"terminal": False, "command": "make", "cwd": str(Path.cwd())},
        "timeout_s": 5.0,
        "labels": {"team": "a"},
    }


def test_run_json_is_one_event_a_line(cli: Cli, server: FakeServer) -> None:
    server.script = hello
    outcome = cli("run", "shell", "x", "--json")
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert [event["type"] for event in events][::5] == ["job.queued", "job.succeeded"]
    assert outcome.err == ""


def test_run_detached_prints_the_id_and_leaves(cli: Cli, server: FakeServer) -> None:
    server.script = hello
    outcome = cli("run", "shell", "x", "--detach", "--id", "mine")
    assert (outcome.code, outcome.out) == (0, "mine\n")
    assert "POST /jobs" in server.requests


@pytest.mark.parametrize(
    ("end", "code", "line"),
    [
        ({"type_": "job.failed", "error": {"kind": "exited", "message": "exit code 3"}}, 1, "failed: exit code 3"),
        ({"type_": "job.timed_out", "cancellation": cancellation(reason="timeout")}, 124, "timed out (out of time)"),
        ({"type_": "job.cancelled", "cancellation": cancellation()}, 130, "cancelled (on request)"),
        ({"type_": "job.lost"}, 3, "lost: "),
    ],
)
def test_run_ends_with_the_jobs_code(cli: Cli, server: FakeServer, end: dict[str, Any], code: int, line: str) -> None:
    async def script(stage: Stage) -> None:
        await stage.start()
        await stage.emit(**end)

    server.script = script
    outcome = cli("run", "shell", "x")
    assert outcome.code == code
    assert f"deadstop: {line}" in outcome.err


def test_run_shows_the_traceback_of_a_task_that_raised(cli: Cli, server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        await stage.start()
        error = {"kind": "raised", "message": "ValueError: no", "traceback": "Traceback …\nValueError: no\n"}
        await stage.emit("job.failed", error=error)

    server.script = script
    assert "Traceback …\nValueError: no\ndeadstop: failed: ValueError: no" in cli("run", "shell", "x").err


def test_run_goes_on_after_a_cut(cli: Cli, server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        await stage.start()
        await stage.output("one\r\n")
        await stage.cut()
        await stage.output("two\r\n")
        await stage.emit("job.succeeded", result=None)

    server.script = script
    outcome = cli("run", "shell", "x")
    assert (outcome.code, outcome.out) == (0, "one\ntwo\n")


def test_run_shows_that_the_cut_cancelled_the_job(cli: Cli, server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        await stage.start()
        await stage.cut()
        await stage.finish_cancelled(reason="client_disconnected")

    server.script = script
    outcome = cli("run", "shell", "x")
    assert outcome.code == 130
    assert "reconnecting" in outcome.err
    assert "cancelled (client disconnected): everything gone" in outcome.err


def test_run_of_a_job_that_a_new_server_does_not_know_is_not_proven(cli: Cli, server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        await stage.start()
        server.forgetful = True
        await stage.cut()

    server.script = script
    outcome = cli("run", "shell", "x", "--id", "mine")
    assert outcome.code == 3
    assert "lost job mine: the server" in outcome.err.splitlines()[-1]


def test_run_reports_events_that_are_no_longer_kept(cli: Cli, server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        await stage.start()
        await stage.emit("stream.gap", numbered=False, **{"from": 4, "to": 900})
        await stage.emit("job.succeeded", result=None)

    server.script = script
    assert "deadstop: events 4 to 900 are no longer kept" in cli("run", "shell", "x").err


def test_run_without_a_verdict_ends_all_the_same(cli: Cli, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.cli.run.run.VERDICT_GRACE_S", 0.3)

    async def script(stage: Stage) -> None:
        await stage.start()
        await stage.emit("cancel.requested", reason="timeout", budget_s=0.2)

    server.script = script
    outcome = cli("run", "shell", "x")
    assert outcome.code == 3
    assert "no verdict on job" in outcome.err


def test_run_with_survivors_names_them_and_is_not_proven(
    cli: Cli, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.cli.run.run.SURVIVORS_GRACE_S", 0.3)

    async def script(stage: Stage) -> None:
        await stage.start()
        await stage.emit("cancel.requested", reason="api", budget_s=2.0)
        await stage.emit("cancel.unproven", survivors=[{"pid": 9, "name": "dd", "status": "disk-sleep"}])

    server.script = script
    outcome = cli("run", "shell", "x")
    assert outcome.code == 3
    assert "not proven gone: 1 survivor: 9 dd (disk-sleep)" in outcome.err


def test_run_waits_for_a_server_that_is_not_ready_yet(cli: Cli, server: FakeServer) -> None:
    server.script = hello
    server.refusals = [problem(503, "not-ready", "tasks are being described", headers={"Retry-After": "0"})] * 2
    outcome = cli("run", "shell", "x")
    assert outcome.code == 0
    assert "tasks are being described" in outcome.err
