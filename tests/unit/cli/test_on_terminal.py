"""`run` on a terminal: what it draws, what it lets through, and how it gives the terminal back."""

from __future__ import annotations

import os
import signal

from tests.support.cli import on_terminal
from tests.support.fake_server import FakeServer
from tests.support.scripts import nasty, never, polite
from tests.support.stage import Stage


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


def test_plain_lines_on_a_terminal_have_nothing_that_it_obeys(server: FakeServer, env: dict[str, str]) -> None:
    server.script = nasty
    for argv in (["--plain"], []):
        with on_terminal("run", "shell", "x", *argv, env=env | {"TERM": "xterm" if argv else "dumb"}) as terminal:
            assert terminal.read_to_end() == 1
        shown = terminal.screen.replace("\r\n", "")  # the terminal's own line ends
        assert "a␛]0;owned␇b␛[2Jc" in shown
        assert [char for char in shown if (ord(char) < 0x20 and char != "\t") or 0x7F <= ord(char) < 0xA0] == []
        assert not {"\u202e", "\u2066"} & set(shown)
