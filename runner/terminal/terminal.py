"""A command in a pseudo-terminal or on pipes: its task reads its output, types into it, and waits for it.

When the job is cancelled the command gets SIGTERM, so that a shell's `trap` runs; if it does not end, the job's ladder
ends it. Processes that the command leaves in the background when it ends by itself live on, and their output is read,
until the job ends or `close()` is called.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Self

from runner.cancellation import Cancellation
from runner.errors import CommandEnded
from runner.reporter import Stream
from runner.stdin import JobStdin
from runner.terminal.ansi import PlainText
from runner.terminal.background import Background
from runner.terminal.exit_status import ExitStatus
from runner.terminal.groups import ignores
from runner.terminal.io_loop import CommandIO
from runner.terminal.spawn import Spawned
from runner.terminal.unread import Unread

HANGUP_AFTER_S = 0.25
CLOSE_GRACE_S = 0.5
"""A command whose block ends first gets SIGTERM, then SIGKILL. One that ignores SIGTERM, as interactive shells do, gets
SIGHUP in between.
"""
LAST_SHOWN = 200

Show = Callable[[Stream, str], None]


class Terminal:
    """A running command, made by `ctx.terminal(...)`. One thread at a time may use it, not always the same one.

    Its output is passed to `show` as it comes, and kept until `read`, iteration or `wait_for` takes it. With `plain`
    these get text without escape sequences; `show` gets everything.
    """

    def __init__(
        self, spawned: Spawned, cancellation: Cancellation, show: Show | None = None, *, plain: bool = False
    ) -> None:
        self.pid = spawned.pid
        self._is_terminal = spawned.terminal_fd is not None
        self._io = CommandIO(spawned, cancellation, self._add_output)
        self._cancellation = cancellation
        self._show = show
        self._plain = PlainText() if plain else None
        self._unread = Unread()
        self._background: Background | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    @property
    def status(self) -> ExitStatus | None:
        """How the command ended; None while it runs."""
        return self._io.status

    @property
    def is_terminal(self) -> bool:
        """Whether the command has a terminal. False on pipes."""
        return self._is_terminal

    # --- reading

    def read(self, timeout_s: float | None = None) -> str:
        """Return the output since the last call, and wait for the first of it. Return "" when the command has ended.

        Raise TimeoutError after `timeout_s`, and JobCancelled if the job is to stop.
        """
        deadline = _deadline(timeout_s)
        while not self._unread and self.status is None:
            self._step(deadline)
        self._flush_plain()
        return self._unread.take()

    def __iter__(self) -> Iterator[str]:
        """Yield the output, piece by piece, until the command ends. Raise JobCancelled if the job is to stop."""
        while text := self.read():
            yield text

    def wait_for(self, pattern: str | re.Pattern[str], timeout_s: float | None = None) -> re.Match[str]:
        """Wait until the output matches. The match and everything before it are then read.

        Raise TimeoutError after `timeout_s`, CommandEnded if the command ends first, and JobCancelled if the job is to
        stop. The first two name the last output.
        """
        expression = re.compile(pattern)
        deadline = _deadline(timeout_s)
        while (match := expression.search(unread := self._peek())) is None:
            wanted = f"{expression.pattern!r}; the last it wrote: {unread[-LAST_SHOWN:]!r}"
            if self.status is not None:
                raise CommandEnded(f"the command {self.status} before it wrote {wanted}")
            try:
                self._step(deadline)
            except TimeoutError:
                raise TimeoutError(f"the command did not write within {timeout_s} s: {wanted}") from None
        self._unread.replace(unread[match.end() :])
        return match

    def wait(self, timeout_s: float | None = None) -> ExitStatus:
        """Wait until the command ends. Raise TimeoutError after `timeout_s`, and JobCancelled if the job is to stop."""
        deadline = _deadline(timeout_s)
        while self._io.status is None:
            self._io.step(deadline)
        self._raise_if_cancelled()
        return self._io.status

    def run(self, typed: JobStdin | None = None) -> ExitStatus:
        """Pass the clients' input (`ctx.typed`) on until the command ends. Raise as `wait` does."""
        if typed is not None:
            self._io.input.attach(typed)
        return self.wait()

    # --- writing

    def write(self, text: str | bytes, timeout_s: float | None = None) -> None:
        """Type `text`, and wait until the command has taken it. Output that comes meanwhile is kept.

        Raise CommandEnded if the command no longer reads its input, TimeoutError after `timeout_s`, and JobCancelled if
        the job is to stop.
        """
        deadline = _deadline(timeout_s)
        self._io.input.type(text.encode() if isinstance(text, str) else text)
        while self._io.input.unsent_bytes and self._io.takes_input:
            self._step(deadline)
        if not self._io.takes_input:
            self._io.input.drop_unsent()
            raise CommandEnded(f"cannot write: the command {self.status or 'has closed its input'}")

    def end_input(self) -> None:
        """End the input: by Ctrl-D in a terminal, by closing stdin on pipes."""
        self._io.input.type(b"", eof=True)

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal, which its foreground process group learns by SIGWINCH. Pipes have no size."""
        self._io.spawned.resize(rows, columns)

    # --- ending

    def signal(self, number: signal.Signals) -> None:
        """Signal the command's process group and the terminal's foreground group. Stopped processes are continued."""
        self._io.process.signal(number)

    def leave(self) -> None:
        """Leave the block: end the command if it still runs, but let its background processes live."""
        if self.status is None and not self._cancellation.requested and self._io.process.has_exited():
            self._io.finish()
        if self.status is not None and (self._io.open_outputs or self._io.process.any_alive()):
            self._background = Background(self._io)
            self._background.start()
        else:
            self.close()

    def when_over(self, callback: Callable[[], object]) -> None:
        """Call `callback` when nothing of the command is left, at the latest at the end of `close()`. Call this after
        `leave`.
        """
        if self._background is None:
            callback()
        else:
            self._background.when_over(callback)

    def close(self) -> None:
        """End the command if it still runs, with everything in its process group, and close the terminal.

        If the job is to stop, the command has as long as the ladder gives it; otherwise CLOSE_GRACE_S.
        """
        if self._background is not None:
            self._background.end(CLOSE_GRACE_S)
            return
        stopped_by_ladder = self._io.process.stops_with_job and self._cancellation.requested
        self._io.process.stops_with_job = True
        self._io.process.request_stop()
        self._io.process.stops_with_job = False
        if not stopped_by_ladder:
            self._stop_within_grace()
        self._wait_until_ended(None)
        self._io.close()

    def _stop_within_grace(self) -> None:
        began = time.monotonic()
        if not self._wait_until_ended(HANGUP_AFTER_S):
            if ignores(self.pid, signal.SIGTERM):
                self.signal(signal.SIGHUP)
            if not self._wait_until_ended(CLOSE_GRACE_S - HANGUP_AFTER_S):
                self.signal(signal.SIGKILL)
        self._io.process.kill_after(CLOSE_GRACE_S - (time.monotonic() - began))

    def _wait_until_ended(self, seconds: float | None) -> bool:
        deadline = _deadline(seconds)
        try:
            while self.status is None:
                self._io.step(deadline)
        except TimeoutError:
            return False
        return True

    def _step(self, deadline: float | None) -> None:
        self._raise_if_cancelled()
        self._io.step(deadline)
        self._raise_if_cancelled()

    def _raise_if_cancelled(self) -> None:
        if self._io.process.stops_with_job:
            self._cancellation.raise_if_requested()

    def _peek(self) -> str:
        self._flush_plain()
        return self._unread.peek()

    def _flush_plain(self) -> None:
        """Add what was held back as the beginning of an escape sequence, once nothing can follow it any more."""
        if self._plain is not None and self.status is not None and (rest := self._plain.feed("", final=True)):
            self._unread.add(rest)

    def _add_output(self, stream: Stream, text: str) -> None:
        if self._show is not None:
            self._show(stream, text)
        if self._plain is not None:
            text = self._plain.feed(text)
        self._unread.add(text)


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s
