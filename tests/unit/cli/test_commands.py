"""Each command but `run` against a server over a real socket: what is printed where, and the exit code."""

from __future__ import annotations

import json

import pytest

from tests.support.commands import Cli, hello
from tests.support.fake_server import FakeServer
from tests.support.stage import Stage, cancellation


def test_ps_lists_unfinished_jobs_as_tab_separated_columns(cli: Cli, server: FakeServer) -> None:
    server.jobs = {"a": Stage("a", {"task": "shell"}, state="running"), "b": Stage("b", {}, state="failed")}
    outcome = cli("ps")
    header, *rows = [line.split("\t") for line in outcome.out.splitlines()]
    assert header[:3] == ["ID", "TASK", "STATE"]
    assert [row[:3] for row in rows] == [["a", "shell", "running"]]
    assert len(cli("ps", "--all").out.splitlines()) == 3
    assert [job["id"] for job in json.loads(cli("ps", "--state", "failed", "--json").out)] == ["b"]


def test_show_prints_the_proof(cli: Cli, server: FakeServer) -> None:
    server.jobs = {"a": Stage("a", {"task": "shell"}, state="cancelled", fields={"cancellation": cancellation()})}
    facts = dict(line.split("\t", 1) for line in cli("show", "a").out.splitlines())
    assert facts["state"] == "cancelled"
    assert facts["proof"] == "echild"
    assert facts["gone"] == "48 ms, within 2 s"
    assert json.loads(cli("show", "a", "--json").out)["id"] == "a"


def test_show_of_an_unknown_job(cli: Cli) -> None:
    outcome = cli("show", "nope")
    assert (outcome.code, outcome.err) == (2, "deadstop: no such job\n")


@pytest.mark.parametrize("command", ["show", "events", "cancel"])
@pytest.mark.parametrize("word", ["../tasks", "..", "a/files", "a?b", "a b", "a%2e", "", "é", "a" * 65])
def test_an_invalid_job_id_is_rejected_before_a_server_is_asked(cli: Cli, command: str, word: str) -> None:
    outcome = cli("--url", "http://127.0.0.1:9", command, "--", word)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err == f'deadstop: invalid job ID {word!r}: use 1 to 64 letters, digits, "_" or "-"\n'


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


def test_cancel_prints_the_proof(cli: Cli, server: FakeServer) -> None:
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


def test_cancel_of_an_unknown_job_is_an_error(cli: Cli) -> None:
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
