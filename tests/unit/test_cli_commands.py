"""Each command against a server over a real socket: what is printed where, and the exit code."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.app import main
from tests.support.fake_server import TOKEN, FakeServer, Stage, cancellation, problem


@dataclass
class Outcome:
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with FakeServer() as fake:
        monkeypatch.setenv("DEADSTOP_URL", fake.url)
        monkeypatch.setenv("DEADSTOP_TOKEN", TOKEN)
        monkeypatch.setenv("DEADSTOP_STATE_DIR", str(tmp_path))
        yield fake


@pytest.fixture
def cli(server: FakeServer, capfd: pytest.CaptureFixture[str]) -> Cli:
    def call(*argv: str) -> Outcome:
        code = main(list(argv))
        return Outcome(code, *capfd.readouterr())

    return call


def one_line(text: str) -> bool:
    return text.startswith("deadstop: ") and text.count("\n") == 1


# --- run


async def hello(stage: Stage) -> None:
    await stage.start()
    await stage.output("hello\r")
    await stage.output("\nwörld\r\n")
    await stage.emit("job.succeeded", result={"exit_code": 0})


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


def test_run_goes_on_behind_a_cut(cli: Cli, server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        await stage.start()
        await stage.output("one\r\n")
        await stage.cut()
        await stage.output("two\r\n")
        await stage.emit("job.succeeded", result=None)

    server.script = script
    outcome = cli("run", "shell", "x")
    assert (outcome.code, outcome.out) == (0, "one\ntwo\n")


def test_run_tells_that_the_cut_cancelled_the_job(cli: Cli, server: FakeServer) -> None:
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


def test_run_tells_of_events_that_are_no_longer_kept(cli: Cli, server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        await stage.start()
        await stage.emit("stream.gap", numbered=False, **{"from": 4, "to": 900})
        await stage.emit("job.succeeded", result=None)

    server.script = script
    assert "deadstop: events 4 to 900 are no longer kept" in cli("run", "shell", "x").err


def test_run_without_a_verdict_ends_all_the_same(cli: Cli, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.cli.run.VERDICT_GRACE_S", 0.3)

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
    monkeypatch.setattr("supervisor.cli.run.SURVIVORS_GRACE_S", 0.3)

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


# --- refusals


def test_unknown_task(cli: Cli) -> None:
    outcome = cli("run", "shel", "x")
    assert outcome.code == 2
    assert outcome.err == "deadstop: unknown task 'shel': did you mean shell?\n"


def test_each_wrong_field_is_named(cli: Cli, server: FakeServer) -> None:
    errors = [{"field": "input.a", "message": "must be integer"}, {"field": "input.c", "message": "unknown field"}]
    server.refusals = [problem(422, "invalid", "two errors", errors=errors)]
    outcome = cli("run", "add", "--input", '{"a": "1", "c": 2}')
    assert outcome.code == 2
    assert outcome.err == "deadstop: input.a: must be integer; input.c: unknown field\n"


def test_full_queue(cli: Cli, server: FakeServer) -> None:
    server.refusals = [problem(429, "queue-full", "1000 jobs wait", headers={"Retry-After": "7"})]
    outcome = cli("run", "shell", "x")
    assert outcome.code == 4
    assert outcome.err == "deadstop: the server takes no jobs now: 1000 jobs wait; try again in 7 s\n"


def test_wrong_token_names_where_it_came_from(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FakeServer
) -> None:
    monkeypatch.setenv("DEADSTOP_TOKEN", "wrong")
    outcome = cli("ps")
    assert outcome.code == 4
    assert outcome.err == f"deadstop: the server at {server.url} refused the token from DEADSTOP_TOKEN\n"
    monkeypatch.delenv("DEADSTOP_TOKEN")
    (tmp_path / "token").write_text("old")
    assert str(tmp_path / "token") in cli("ps").err
    (tmp_path / "token").unlink()
    assert "there is none in DEADSTOP_TOKEN or" in cli("ps").err


def test_no_server_names_the_line_that_starts_one(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    outcome = cli("ps", "--url", f"http://127.0.0.1:{port}")
    assert outcome.code == 4
    assert one_line(outcome.err)
    assert "connection refused; start it with: " in outcome.err


def test_something_else_at_the_address(cli: Cli, server: FakeServer) -> None:
    server.refusals = [problem(200, "x", "y")]
    server.health = {}
    assert "is not Deadstop (status 404" in cli("--url", f"{server.url}/elsewhere", "ps").err


@pytest.mark.parametrize(
    "argv",
    [
        ["run"],
        ["nonsense"],
        ["run", "shell", "ls", "-la"],
        ["run", "shell", "ls", "extra"],
        ["run", "shell", "--input", "{"],
        ["run", "shell", "ls", "--timeout", "0"],
        ["run", "shell", "ls", "--timeout", "soon"],
        ["run", "shell", "ls", "--label", "x"],
        ["cancel"],
        ["ps", "--url", "nonsense"],
    ],
)
def test_wrong_usage_is_one_line_and_two(cli: Cli, argv: list[str], server: FakeServer) -> None:
    outcome = cli(*argv)
    assert outcome.code == 2
    assert one_line(outcome.err), outcome.err
    assert not server.jobs


# --- the rest


def test_ps_lists_unfinished_jobs_as_tab_separated_columns(cli: Cli, server: FakeServer) -> None:
    server.jobs = {"a": Stage("a", {"task": "shell"}, state="running"), "b": Stage("b", {}, state="failed")}
    outcome = cli("ps")
    header, *rows = [line.split("\t") for line in outcome.out.splitlines()]
    assert header[:3] == ["ID", "TASK", "STATE"]
    assert [row[:3] for row in rows] == [["a", "shell", "running"]]
    assert len(cli("ps", "--all").out.splitlines()) == 3
    assert [job["id"] for job in json.loads(cli("ps", "--state", "failed", "--json").out)] == ["b"]


def test_show_tells_the_proof(cli: Cli, server: FakeServer) -> None:
    server.jobs = {"a": Stage("a", {"task": "shell"}, state="cancelled", fields={"cancellation": cancellation()})}
    facts = dict(line.split("\t", 1) for line in cli("show", "a").out.splitlines())
    assert facts["state"] == "cancelled"
    assert facts["proof"] == "echild"
    assert facts["gone"] == "48 ms, within 2 s"
    assert json.loads(cli("show", "a", "--json").out)["id"] == "a"


def test_show_of_an_unknown_job(cli: Cli) -> None:
    outcome = cli("show", "nope")
    assert (outcome.code, outcome.err) == (2, "deadstop: no such job\n")


def test_events_follow_to_the_end(cli: Cli, server: FakeServer) -> None:
    server.script = hello
    cli("run", "shell", "x", "--id", "a")
    rows = [line.split("\t") for line in cli("events", "a").out.splitlines()]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert rows[-1][2] == "job.succeeded"
    assert len(cli("events", "a", "--after", "4", "--no-follow").out.splitlines()) == 2
    assert cli("events", "a", "--after", "6").out == ""
    last = json.loads(cli("events", "a", "--json").out.splitlines()[-1])
    assert last["type"] == "job.succeeded"


def test_cancel_tells_the_proof(cli: Cli, server: FakeServer) -> None:
    async def script(stage: Stage) -> None:
        await stage.start()
        await stage.cancelled.wait()
        await stage.finish_cancelled()

    server.script = script
    cli("run", "shell", "x", "--detach", "--id", "a")
    outcome = cli("cancel", "a")
    assert outcome.code == 0
    assert outcome.out.startswith("a: cancelled (on request): everything gone after 48 ms of 2,000; proof echild")


@pytest.mark.parametrize(
    ("state", "fields", "code", "line"),
    [
        ("succeeded", {}, 0, "already finished: succeeded"),
        ("cancelled", {"cancellation": cancellation(proof="none")}, 3, "cancelled"),
        ("cancelling", {"cancellation": {"survivors": [{"pid": 9, "name": "dd", "status": "D"}]}}, 3, "9 dd (D)"),
        ("cancelling", {"cancellation": {"survivors": []}}, 3, "still cancelling after 0.1 s"),
        ("lost", {}, 3, "lost"),
    ],
)
def test_cancel_outcomes(
    cli: Cli, server: FakeServer, state: str, fields: dict[str, object], code: int, line: str
) -> None:
    server.jobs = {"a": Stage("a", {}, state=state, fields=fields)}
    outcome = cli("cancel", "a", "--wait", "0.1")
    assert outcome.code == code
    assert line in outcome.out


def test_cancel_of_an_unknown_job_is_told(cli: Cli) -> None:
    outcome = cli("cancel", "nope")
    assert outcome.code == 2
    assert "no such job" in outcome.out


def test_cancel_of_several_asks_all_first_and_ends_with_the_worst(cli: Cli, server: FakeServer) -> None:
    server.jobs = {"a": Stage("a", {}, state="succeeded"), "b": Stage("b", {}, state="lost")}
    outcome = cli("cancel", "--force", "a", "b")
    assert outcome.code == 3
    assert server.cancels == [("a", {"force": True}), ("b", {"force": True})]


def test_tasks(cli: Cli) -> None:
    assert "thumbnails\twidth: integer = 320, folder: string\t" in cli("tasks").out
    assert json.loads(cli("tasks", "--json").out)[0]["name"] == "shell"


@pytest.mark.parametrize(("status", "code", "word"), [("ok", 0, "OK"), ("degraded", 1, "WARNING"), ("down", 2, "CRIT")])
def test_health_speaks_as_monitoring_plugins_do(
    cli: Cli, server: FakeServer, status: str, code: int, word: str
) -> None:
    server.health = {
        "status": status,
        "version": "1",
        "containment": {"level": "subreaper"},
        "counts": {"running": 2},
        "checks": {
            "store": {"ok": status == "ok", "detail": "disk full", "numbers": {}},
            "selftest": {"ok": True, "detail": "-", "numbers": {"age_s": 4.2, "gone_ms": 3.0}},
            "stuck": {"ok": True, "detail": "-", "numbers": {"jobs": 0}},
        },
    }
    outcome = cli("health")
    assert outcome.code == code
    assert outcome.out.startswith(f"DEADSTOP {word}")
    assert ("store: disk full" in outcome.out) is (status != "ok")
    assert outcome.out.endswith(" | running=2 selftest_age=4.2s selftest_gone=3ms stuck_jobs=0\n")


def test_health_without_a_server_is_critical_and_misuse_unknown(cli: Cli) -> None:
    assert cli("health", "--url", "http://127.0.0.1:1").code == 2
    assert cli("health", "--url", "nonsense").code == 3
    assert cli("health", "--nonsense").code == 3


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").out.startswith("deadstop ")
    assert "run" in cli().out
    assert "Ctrl-C" in cli("run", "--help").out
