"""What a task is given: how it learns of cancel, reports, and holds things."""

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
from runner.terminal.spawn import DEFAULT_SIZE, spawn
from runner.terminal.terminal import Terminal
from runner.text import shown, shown_fields

_MAX_NAME = 200
_MAX_MESSAGE = 4000


class Context:
    """One attempt, as its task sees it. All methods may be called from any thread.

    `workspace` is the current directory of the job and goes away with it; `out` inside it is for results. `typed` is
    what clients write into a job whose input says `"stdin": "open"`: give it to `Terminal.run`. `options` and `secrets`
    are what the server's settings hand to this task, and empty for most.
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
        """Whether to stop. Code that reads True here has the rest of the budget to clean up in peace."""
        return self._cancellation.notice()

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelled when the job is to stop."""
        self._cancellation.raise_if_requested()

    def sleep(self, seconds: float) -> None:
        """Sleep, but raise JobCancelled at once when the job is to stop."""
        self._cancellation.wait(seconds)
        self._cancellation.raise_if_requested()

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the work is. Raises ValueError for numbers that are not finite."""
        if not math.isfinite(done) or (total is not None and not math.isfinite(total)):
            raise ValueError(f"cannot report progress {done} of {total}: not finite")
        text = None if message is None else shown(message, _MAX_MESSAGE)
        self._reporter.send(Progress(float(done), None if total is None else float(total), text))

    def say(self, text: str) -> None:
        """Write text into the job's output as it comes; `print` waits for the end of a line."""
        self._reporter.output("stdout", text)

    def log(self, message: str, level: str = "info", **fields: Any) -> None:
        """Write a structured log line into the job's events. Values that are no JSON become text.

        Raises ValueError for a level that is not debug, info, warning or error.
        """
        if level not in ("debug", "info", "warning", "error"):
            raise ValueError(f"cannot log at level {level!r}: use debug, info, warning or error")
        self._reporter.log(Log(level, shown(message, _MAX_MESSAGE), shown_fields(fields)))  # type: ignore[arg-type]

    def phase(self, phase: Phase, detail: str | None = None) -> None:
        """Say what the task is doing now: startup, tool, llm or cleanup. Raises ValueError for anything else."""
        if phase not in get_args(Phase):
            raise ValueError(f"cannot enter phase {phase!r}: use one of {', '.join(get_args(Phase))}")
        self._reporter.send(PhaseChange(phase, None if detail is None else shown(detail, _MAX_MESSAGE)))

    @contextlib.contextmanager
    def holding(self, kind: ResourceKind, name: str) -> Iterator[None]:
        """Show a resource in the job while the block runs. What is never released is removed with the job.

        Raises ValueError for a kind that is not terminal, browser, file, directory or process.
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
        """Write a file that appears complete or not at all: put in its place when the block ends well.

        Raises JobCancelled instead when the job was asked to stop meanwhile: what was there stands. A file that is
        begun while the job cleans up is put in its place.
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

        A text is run by the shell, a list as it is. `env` adds variables; `size` is rows and columns. Without `pty` it
        runs on pipes. `open_stdin`: it can be typed into, in a terminal unless told otherwise; else its stdin is empty
        and it has no controlling terminal. `show`: what it writes goes to the job's events. `plain`: what is read here
        comes without escape sequences.

        Raises TaskFailed when it cannot be started, and ValueError or TypeError for what is no command. At the end of
        the block it is asked to go, then killed; what it left in the background when it ended by itself lives until
        the job ends, or `close()`. When the job is to stop it is asked at once, whatever the task is doing.
        """
        words = [command] if isinstance(command, str) else [os.fspath(word) for word in command]
        argv = shell_words(command) if isinstance(command, str) else words
        if not self._cancellation.unwinding:
            self.raise_if_cancelled()
        stdin = pty if open_stdin is None else open_stdin
        with contextlib.ExitStack() as held:
            held.enter_context(self.holding("terminal" if pty else "process", " ".join(words)))
            terminal: Terminal | None = None
            try:
                # Shielded: JobCancelled between the start and the assignment would leave a command that nobody ends.
                with self._cancellation.shielded():
                    spawned = spawn(argv, pty=pty, cwd=cwd or self.workspace, env=env, size=size, open_stdin=stdin)
                    terminal = Terminal(
                        spawned, self._cancellation, self._reporter.output if show else None, plain=plain
                    )
                yield terminal
            finally:
                if terminal is not None:
                    terminal.leave()
                    terminal.when_over(held.pop_all().close)

    @contextlib.asynccontextmanager
    async def browser(self) -> AsyncIterator[Browser]:
        """Start Chromium with a profile of its own, for async tasks: `async with ctx.browser() as browser`.

        Raises TaskFailed, kind load, when Chromium or Playwright is missing, naming what to install.
        """
        with self.holding("browser", "chromium"):
            async with launched(self.out, self.open_atomic) as browser:
                yield browser
