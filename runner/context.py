"""The object that a task gets: it learns of cancel requests, reports, and acquires resources through it."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, get_args

from runner.atomic_file import open_atomic
from runner.browser import Browser, launched
from runner.cancellation import Cancellation
from runner.protocol import Log, Phase, PhaseChange, Progress, ResourceChange, ResourceKind, RunTask
from runner.reporter import Reporter
from runner.stdin import JobStdin
from runner.terminal.script import shell_words
from runner.terminal.spawn import DEFAULT_SIZE, Spawned, spawn
from runner.terminal.terminal import Terminal
from runner.text import shown, shown_fields

_MAX_NAME = 200
_MAX_MESSAGE = 4000


class Context:
    """One attempt, as its task sees it. All methods may be called from any thread.

    `workspace` is the current directory of the job and is removed with it; `out` inside it is for results. `typed` is
    what clients write into a job whose input says `"stdin": "open"`: pass it to `Terminal.run`. `options` and `secrets`
    come from the server's settings for this task, and are empty for most tasks.
    """

    def __init__(self, work: RunTask, cancellation: Cancellation, reporter: Reporter, typed: JobStdin) -> None:
        self.job_id = work.job_id
        self.workspace = Path(work.workspace)
        self.out = self.workspace / "out"
        self.options = work.options
        self.secrets = work.secrets
        self.typed = typed
        self._cancellation = cancellation
        self._reporter = reporter

    @property
    def cancelled(self) -> bool:
        """Whether to stop. Code that reads True here has the rest of the budget to clean up undisturbed."""
        return self._cancellation.notice()

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelled if the job is to stop."""
        self._cancellation.raise_if_requested()

    def sleep(self, seconds: float) -> None:
        """Sleep, but raise JobCancelled at once if the job is to stop."""
        self._cancellation.wait(seconds)
        self._cancellation.raise_if_requested()

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Report how far the work is. Raise ValueError for numbers that are not finite."""
        if not math.isfinite(done) or (total is not None and not math.isfinite(total)):
            raise ValueError(f"cannot report progress {done} of {total}: not finite")
        text = None if message is None else shown(message, _MAX_MESSAGE)
        self._reporter.send(Progress(float(done), None if total is None else float(total), text))

    def say(self, text: str) -> None:
        """Write text to the job's output at once; `print` waits for the end of a line."""
        self._reporter.output("stdout", text)

    def log(self, message: str, level: str = "info", **fields: Any) -> None:
        """Write a structured log line into the job's events. Values that are not JSON become text.

        Raise ValueError for a level other than debug, info, warning or error.
        """
        if level not in ("debug", "info", "warning", "error"):
            raise ValueError(f"cannot log at level {level!r}: use debug, info, warning or error")
        self._reporter.log(Log(level, shown(message, _MAX_MESSAGE), shown_fields(fields)))  # type: ignore[arg-type]

    def phase(self, phase: Phase, detail: str | None = None) -> None:
        """Report what the task is doing now: startup, tool, llm or cleanup. Raise ValueError for any other phase."""
        if phase not in get_args(Phase):
            raise ValueError(f"cannot enter phase {phase!r}: use one of {', '.join(get_args(Phase))}")
        self._reporter.send(PhaseChange(phase, None if detail is None else shown(detail, _MAX_MESSAGE)))

    @contextlib.contextmanager
    def holding(self, kind: ResourceKind, name: str) -> Iterator[None]:
        """Show a resource in the job while the block runs. A resource that is never released is removed with the job.

        Raise ValueError for a kind other than terminal, browser, file, directory or process.
        """
        if kind not in get_args(ResourceKind):
            raise ValueError(f"cannot hold {name!r} as {kind!r}: use one of {', '.join(get_args(ResourceKind))}")
        name = shown(name, _MAX_NAME)
        self._reporter.send(ResourceChange("acquired", kind, name))
        try:
            yield
        finally:
            self._reporter.send(ResourceChange("released", kind, name))

    @contextlib.contextmanager
    def open_atomic(self, path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
        """Write a file that appears complete or not at all. It replaces the old one when the block ends without an
        exception.

        Raise JobCancelled instead if the job was cancelled meanwhile: the old file then stays. A file that is opened
        during the clean-up is put in place.
        """
        begun_in_time = not self.cancelled

        @contextlib.contextmanager
        def commit() -> Iterator[None]:
            if begun_in_time:
                self.raise_if_cancelled()
            with self._cancellation.shielded():
                yield

        with self.holding("file", str(path)), open_atomic(Path(path), mode, commit=commit) as file:
            yield file

    @contextlib.contextmanager
    def terminal(
        self,
        command: str | Sequence[str | os.PathLike[str]],
        *,
        pty: bool = True,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        size: tuple[int, int] = DEFAULT_SIZE,
        open_stdin: bool | None = None,
        show: bool = True,
        plain: bool = False,
    ) -> Iterator[Terminal]:
        """Start a command in a terminal of its own: `with ctx.terminal("make") as t: t.run().check()`.

        A text is run by the shell, a list as it is. `env` adds variables; `size` is rows and columns. Without `pty` the
        command runs on pipes. With `open_stdin`, the default in a terminal, it can be typed into; otherwise its stdin
        is empty and it has no controlling terminal. `show` sends its output to the job's events; `plain` leaves escape
        sequences out of what is read here.

        Raise TaskFailed if it cannot start, ValueError or TypeError if it is not a valid command. At the end of the
        block, or when the job is to stop, it is asked to stop, then killed. If it ended by itself, its background
        processes live on until the job ends.
        """
        name, argv = _command_line(command)
        if not self._cancellation.unwinding:
            self.raise_if_cancelled()
        stdin = pty if open_stdin is None else open_stdin
        with contextlib.ExitStack() as held:
            held.enter_context(self.holding("terminal" if pty else "process", name))
            terminal: Terminal | None = None
            try:
                # Shielded: JobCancelled between the start and the assignment would leave a command without an owner.
                with self._cancellation.shielded():
                    spawned = spawn(argv, pty=pty, cwd=cwd or self.workspace, env=env, size=size, open_stdin=stdin)
                    terminal = self._attach(spawned, show=show, plain=plain)
                yield terminal
            finally:
                if terminal is not None:
                    terminal.leave()
                    terminal.when_over(held.pop_all().close)

    @contextlib.asynccontextmanager
    async def browser(self) -> AsyncIterator[Browser]:
        """Start Chromium with a profile of its own, for async tasks: `async with ctx.browser() as browser`.

        Raise TaskFailed (kind load), which names what to install, if Chromium or Playwright is missing.
        """
        with self.holding("browser", "chromium"):
            async with launched(self.out, self.open_atomic) as browser:
                yield browser

    def _attach(self, spawned: Spawned, *, show: bool, plain: bool) -> Terminal:
        return Terminal(spawned, self._cancellation, self._reporter.output if show else None, plain=plain)


def _command_line(command: str | Sequence[str | os.PathLike[str]]) -> tuple[str, Sequence[str]]:
    """Return the command as people read it, and its arguments. A text is run by the shell."""
    if isinstance(command, str):
        return command, shell_words(command)
    words = [os.fspath(word) for word in command]
    return " ".join(words), words
