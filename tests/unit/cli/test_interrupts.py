"""Signals and leaving readers while `run` follows its job: a process of its own against a server that plays along."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.cli import PATIENCE_S, started, words
from tests.support.fake_server import FakeServer
from tests.support.scripts import nasty, never, polite, until_forced
from tests.support.stage import Stage


def working(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_and_stays_for_the_proof(
    server: FakeServer, env: dict[str, str], number: signal.Signals
) -> None:
    server.script = polite
    with started("run", "shell", "x", "--id", "a", env=env) as process:
        working(process)
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    why = "Ctrl-C" if number is signal.SIGINT else number.name
    assert server.cancels == [("a", {"reason": why})]
    assert "deadstop: cancelled (on request): everything gone after 48 ms of 2,000; proof echild" in err


def test_the_second_ctrl_c_forces(server: FakeServer, env: dict[str, str]) -> None:
    server.script = until_forced
    with started("run", "shell", "x", "--id", "a", env=env) as process:
        working(process)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "cancelling" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert server.cancels[1] == ("a", {"reason": "Ctrl-C", "force": True})
    assert "SIGKILL to 2 processes, 400 ms after the request" in err


def test_the_third_ctrl_c_leaves_without_claiming_a_proof(server: FakeServer, env: dict[str, str]) -> None:
    server.script = never
    with started("run", "shell", "x", "--id", "a", env=env) as process:
        working(process)
        assert process.stderr is not None
        for word in ("cancelling", "asking to kill"):
            process.send_signal(signal.SIGINT)
            while word not in process.stderr.readline():
                pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3
    assert err.endswith("deadstop: left before the verdict on job a; ask: deadstop show a\n")


def test_under_nohup_the_end_of_the_terminal_is_nothing(server: FakeServer, env: dict[str, str]) -> None:
    server.script = polite
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with started("run", "shell", "x", "--id", "a", env=env) as process:
            signal.signal(signal.SIGHUP, ignored)
            working(process)
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_S)
    finally:
        signal.signal(signal.SIGHUP, ignored)
    assert server.cancels == [("a", {"reason": "SIGTERM"})]


def test_a_reader_who_leaves_cancels_a_silent_job(server: FakeServer, env: dict[str, str]) -> None:
    server.script = polite
    with started("run", "shell", "x", "--id", "a", env=env) as process:
        working(process)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 141
    assert server.cancels == [("a", {"reason": "the reader of the output left"})]


def test_a_reader_who_leaves_after_the_last_line_changes_nothing(server: FakeServer, env: dict[str, str]) -> None:
    async def quick(stage: Stage) -> None:
        await stage.start()
        await stage.output("one\r\n")
        await stage.emit("job.succeeded", result=None)

    server.script = quick
    line = f"{' '.join(words('run', 'shell', 'x'))} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["/bin/bash", "-c", line], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "one\n0\n"


def test_a_reader_of_a_list_may_leave(server: FakeServer, env: dict[str, str]) -> None:
    server.jobs = {f"job-{number}": Stage(f"job-{number}", {}, state="running") for number in range(2000)}
    with started("ps", env=env) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait(PATIENCE_S)) == ("", 141)


def test_ctrl_c_works_although_the_output_is_not_read(server: FakeServer, env: dict[str, str]) -> None:
    async def flood(stage: Stage) -> None:
        await stage.start()
        for _ in range(200):
            await stage.output("x" * 30_000)
        await stage.cancelled.wait()
        await stage.finish_cancelled()

    server.script = flood
    with started("run", "shell", "x", "--id", "a", env=env) as process:
        assert process.stderr is not None
        while "running" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        while "asking to cancel" not in process.stderr.readline():
            pass
        while not server.cancels:
            assert process.poll() is None
        # The job is over now, but a late reader still gets everything.
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert len(out) == 200 * 30_000


def test_a_full_disk_is_reported_and_cancels(server: FakeServer, env: dict[str, str]) -> None:
    server.script = polite
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(words("run", "shell", "x"), env=env, stdout=full, stderr=subprocess.PIPE, text=True)
        with process:
            _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert err.endswith("deadstop: cannot write the output: No space left on device\n")
    assert server.cancels


def test_plain_lines_in_a_pipe_are_what_the_job_wrote(server: FakeServer, env: dict[str, str]) -> None:
    server.script = nasty
    with started("run", "shell", "x", env=env) as process:
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert out.count("a\x1b]0;owned\x07b") == 2
