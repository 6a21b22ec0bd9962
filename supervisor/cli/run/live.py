"""The live view of `run` on a terminal: the output scrolls above a footer with the job's state."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
from collections.abc import Iterable, Iterator
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from deadstop.client.events import Event
from supervisor.cli import formatting
from supervisor.cli.run import footer
from supervisor.cli.run.line_screen import Line, LineScreen
from supervisor.cli.run.plain import about
from supervisor.cli.run.progress import JobProgress
from supervisor.cli.run.view import View

FRAME_S = 0.08
HURRIED_LINES = 50
HURRIED_CHARS = 4096
"""Lines shown in one frame, and characters of one event, after the user asked to stop. Terminals are slow: output of
ten seconds may still be waiting then."""

_LEVELS = {"debug": "dim", "info": "cyan", "warning": "yellow", "error": "red", "critical": "bold red"}


class LiveView(View):
    """Draws at most one frame per FRAME_S, with everything that came in between."""

    tick_s = FRAME_S
    may_skip = True

    def __init__(self, progress: JobProgress) -> None:
        self._progress = progress
        self._console = Console(highlight=False, emoji=False, markup=False)
        self._screens = {"terminal": LineScreen(), "stdout": LineScreen(), "stderr": LineScreen()}
        self._active = self._screens["terminal"]
        self._above: list[Line] = []
        self._hurrying = False
        self._skipped = False
        self._live = Live(
            _Footer(self),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._keyboard = _SilentKeyboard()

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTSTP, self._suspend)
        self._take_terminal()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTSTP)
        self._finish_lines()
        self._give_terminal_back(footer.verdict(self._progress))

    async def show(self, event: Event, progress: JobProgress) -> None:
        match event.type:
            case "job.output":
                self._active = self._screens.get(str(event.data.get("stream")), self._active)
                self._above += self._active.feed(self._abridged(str(event.data.get("text", ""))))
            case "job.log":
                level = str(event.data.get("level"))
                self._add([(f"{level} ", _LEVELS.get(level, "")), (formatting.log_line(event.data), "")])
            case "stream.gap" | "stream.closing":
                self.notice(str(about(event, progress)))
            case _:
                pass

    def notice(self, text: str) -> None:
        self._add([(f"deadstop: {formatting.one_line(text)}", "yellow")])

    def tick(self, progress: JobProgress) -> None:
        if self._above:
            self._print_above()
        else:
            self._live.refresh()

    def hurry(self) -> None:
        """Show only a part of a flood of output from now on: what the user waits for comes behind it."""
        self._hurrying = True

    async def finish(self, progress: JobProgress) -> None:
        self._finish_lines()
        self._give_terminal_back(footer.verdict(progress))

    def _suspend(self) -> None:
        """Stop at Ctrl-Z as every program does, and draw again when the shell continues us. The job goes on."""
        loop = asyncio.get_running_loop()
        self._give_terminal_back([])
        loop.remove_signal_handler(signal.SIGTSTP)
        signal.raise_signal(signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._take_terminal()

    def _finish_lines(self) -> None:
        for screen in self._screens.values():
            self._above += screen.flush()
        self._shorten()
        if self._skipped or (self._hurrying and self._progress.missed):
            self.notice("some of the output since you asked to stop is not shown")

    def _take_terminal(self) -> None:
        self._keyboard.silence()
        self._live.start()

    def _give_terminal_back(self, verdict: Iterable[RenderableType]) -> None:
        """Remove the footer, and leave `verdict` in its place. Does nothing the second time."""
        if not self._live.is_started:
            return
        try:
            self._print_above()
            self._live.stop()
            for renderable in verdict:
                self._console.print(renderable)
        except OSError:
            # The terminal was closed, so there is nothing left to draw on.
            self._above.clear()
        self._keyboard.restore()

    def _add(self, parts: list[tuple[str, str]]) -> None:
        line = Text.assemble(*parts)
        self._above.append([(segment.text, segment.style) for segment in line.render(self._console)])

    def _print_above(self) -> None:
        self._shorten()
        lines, self._above = self._above, []
        if lines:
            self._console.print(_Lines(lines), soft_wrap=True)

    def _abridged(self, text: str) -> str:
        """Return the end of a long text after the user has asked to stop: emulating all of it takes too long."""
        if not self._hurrying or len(text) <= HURRIED_CHARS:
            return text
        self._skipped = True
        return text[-HURRIED_CHARS:]

    def _shorten(self) -> None:
        excess = len(self._above) - HURRIED_LINES
        if self._hurrying and excess > 0:
            self._skipped = True
            del self._above[:excess]

    def footer(self) -> RenderableType:
        """Return what stands below the output at this moment."""
        return footer.running(self._progress, self._active.partial)


class _Footer:
    """Asks the view each time it is drawn: Rich draws the footer again below every print, but does not update it."""

    def __init__(self, view: LiveView) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._view.footer()


class _Lines:
    """Finished lines, printed as they are. Rich neither wraps nor measures them, so even many of them cost little."""

    def __init__(self, lines: list[Line]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._segments()

    def _segments(self) -> Iterator[Segment]:
        """Yield segments. Neighbours without a style become one: in a flood that is nearly everything."""
        plain: list[str] = []
        for line in self._lines:
            for text, style in line:
                if style is None:
                    plain.append(text)
                else:
                    yield Segment("".join(plain))
                    plain.clear()
                    yield Segment(text, style)
            plain.append("\n")
        yield Segment("".join(plain))


class _SilentKeyboard:
    """Keeps typed characters, such as the `^C` of Ctrl-C, from being echoed into the footer."""

    def __init__(self) -> None:
        self._saved: list[Any] | None = None

    def silence(self) -> None:
        try:
            fd = sys.stdin.fileno()
            if os.tcgetpgrp(fd) != os.getpgrp():
                # In the background the terminal belongs to another process group, and changing it would stop us.
                return
            self._saved = termios.tcgetattr(fd)
            quiet = list(self._saved)
            quiet[3] &= ~termios.ECHO
            termios.tcsetattr(fd, termios.TCSADRAIN, quiet)
        except (OSError, ValueError, AttributeError, termios.error):
            # stdin is not a terminal: nothing is echoed from it.
            self._saved = None

    def restore(self) -> None:
        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        try:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, saved)
        except (OSError, termios.error):
            # The terminal was closed while we ran; there is nothing to restore.
            return
