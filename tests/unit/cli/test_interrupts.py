"""Signals and leaving readers while `run` follows its job: a process of its own against a server that plays along."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import PATIENCE_S, environment, on_terminal, started, words
from tests.support.fake_server import TOKEN, FakeServer
from tests.support.stage import Stage, cancellation


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@pytest.fixture
def env(server: FakeServer, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, DEADSTOP_URL=server.url, DEADSTOP_TOKEN=TOKEN)


async def polite(stage: Stage) -> None:
    await stage.start()
    await stage.output("working\r\n")
    await stage.cancelled.wait()
    await stage.finish_cancelled()


async def until_forced(stage: Stage) -> None:
    await stage.start()
    await stage.output("working\r\n")
    await stage.cancelled.wait()
    await stage.emit("cancel.requested", reason="api", budget_s=2.0)
    await stage.forced.wait()
    record = cancellation(force=True, acknowledged_ms=None, killed_ms=400.0, gone_ms=410.0, method="sigkill")
    await stage.emit("cancel.signalled", signal="SIGKILL", pids=[1, 2], ms=400.0)
    await stage.emit("cancel.verified", **record)
    await stage.emit("job.cancelled", cancellation=record)


async def never(stage: Stage) -> None:
    await stage.start()
    await stage.output("working\r\n")
    await stage.cancelled.wait()
    await stage.emit("cancel.requested", reason="api", budget_s=2.0)


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
        # It is over now, but who reads after all still gets everything.
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert len(out) == 200 * 30_000


def test_a_full_disk_is_told_and_cancels(server: FakeServer, env: dict[str, str]) -> None:
    server.script = polite
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(words("run", "shell", "x"), env=env, stdout=full, stderr=subprocess.PIPE, text=True)
        with process:
            _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert err.endswith("deadstop: cannot write the output: No space left on device\n")
    assert server.cancels


def test_the_terminal_shows_output_state_ladder_and_verdict(server: FakeServer, env: dict[str, str]) -> None:
    server.script = polite
    with on_terminal("run", "shell", "x", "--id", "a", env=env) as terminal:
        terminal.read_until("working")
        terminal.read_until("Ctrl-C cancels")
        terminal.press("c")
        assert terminal.read_to_end() == 130
    for word in ("acknowledged", "gone", "■ cancelled", "proof echild"):
        assert word in terminal.screen
    assert "^C" not in terminal.screen
    assert terminal.screen.count("\x1b[?25l") == terminal.screen.count("\x1b[?25h") == 1  # the cursor is back


def test_the_terminal_is_not_wrecked_by_a_job(server: FakeServer, env: dict[str, str]) -> None:
    async def wrecker(stage: Stage) -> None:
        await stage.start()
        await stage.output("\x1b[?1049h\x1b[2J\x1b[5;5Hvi\x1b[31mm\r\n")
        await stage.emit("job.succeeded", result=None)

    server.script = wrecker
    with on_terminal("run", "shell", "x", env=env) as terminal:
        assert terminal.read_to_end() == 0
    assert "\x1b[?1049h" not in terminal.screen
    assert "\x1b[2J" not in terminal.screen
    assert "vi\x1b[31mm" in terminal.screen


def test_no_color_is_respected(server: FakeServer, env: dict[str, str]) -> None:
    async def colours(stage: Stage) -> None:
        await stage.start()
        await stage.output("\x1b[31mred\x1b[0m\r\n")
        await stage.emit("job.failed", error={"kind": "exited", "message": "no"})

    server.script = colours
    with on_terminal("run", "shell", "x", env=env | {"NO_COLOR": "1"}) as terminal:
        assert terminal.read_to_end() == 1
    assert "\x1b[31m" not in terminal.screen
    assert "red" in terminal.screen


def test_the_third_ctrl_c_on_a_terminal_leaves_it_usable(server: FakeServer, env: dict[str, str]) -> None:
    server.script = never
    with on_terminal("run", "shell", "x", "--id", "a", env=env) as terminal:
        terminal.read_until("Ctrl-C cancels")
        terminal.press("c")
        terminal.read_until("Ctrl-C again kills")
        terminal.press("c")
        terminal.read_until("Ctrl-C again leaves")
        terminal.press("c")
        assert terminal.read_to_end() == 3
    assert terminal.screen.endswith("left before the verdict on job a; ask: deadstop show a\r\n")
    assert terminal.screen.count("\x1b[?25h") == 1


def test_ctrl_z_gives_the_terminal_back_and_takes_it_again(server: FakeServer, env: dict[str, str]) -> None:
    server.script = polite
    with on_terminal("run", "shell", "x", env=env) as terminal:
        terminal.read_until("Ctrl-C cancels")
        pid = terminal.process.pid
        # Without a shell above us the terminal's own stop would be ignored, the group being an orphan.
        os.kill(pid, signal.SIGTSTP)
        terminal.read_until("\x1b[?25h")
        os.kill(pid, signal.SIGCONT)
        terminal.press("c")
        assert terminal.read_to_end() == 130
    assert "■ cancelled" in terminal.screen


def test_a_dumb_terminal_gets_plain_lines(server: FakeServer, env: dict[str, str]) -> None:
    server.script = polite
    with on_terminal("run", "shell", "x", env=env | {"TERM": "dumb"}) as terminal:
        terminal.read_until("working")
        terminal.press("c")
        assert terminal.read_to_end() == 130
    assert "\x1b" not in terminal.screen


NASTY = "a\x1b]0;owned\x07b\x1b[2Jc\x9b31md\x00e\x7ff\x08g\rh\u0085i\tj\u202ek\u2066l\r\n"


async def nasty(stage: Stage) -> None:
    await stage.start()
    await stage.output(NASTY)
    await stage.output(NASTY, "stdout")
    await stage.output(NASTY, "stderr")
    await stage.emit("job.log", level="info", message=NASTY, fields={NASTY: NASTY})
    await stage.emit("job.phase", phase="tool", detail=NASTY)
    await stage.emit("job.failed", error={"kind": "raised", "message": NASTY, "traceback": NASTY})


def test_plain_lines_on_a_terminal_have_nothing_that_it_obeys(server: FakeServer, env: dict[str, str]) -> None:
    server.script = nasty
    for argv in (["--plain"], []):
        with on_terminal("run", "shell", "x", *argv, env=env | {"TERM": "xterm" if argv else "dumb"}) as terminal:
            assert terminal.read_to_end() == 1
        shown = terminal.screen.replace("\r\n", "")  # the terminal's own line ends
        assert "a␛]0;owned␇b␛[2Jc" in shown
        assert [char for char in shown if (ord(char) < 0x20 and char != "\t") or 0x7F <= ord(char) < 0xA0] == []
        assert not {"\u202e", "\u2066"} & set(shown)


def test_plain_lines_in_a_pipe_are_what_the_job_wrote(server: FakeServer, env: dict[str, str]) -> None:
    server.script = nasty
    with started("run", "shell", "x", env=env) as process:
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert out.count("a\x1b]0;owned\x07b") == 2
