"""A command in a pseudo-terminal (or on pipes): read as it writes, typed into, waited for, asked to stop with the job.

On cancel the command gets SIGTERM, so that a shell's `trap` runs; if it does not go, the job's ladder ends it. What it
leaves in the background when it ends by itself lives on, and its output is read, until the job ends or `close()`.
"""

from __future__ import annotations

import re
import signal
import time
from collections import deque
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
from runner.terminal.io_loop import Pump
from runner.terminal.spawn import Spawned

HANGUP_AFTER_S = 0.25
CLOSE_GRACE_S = 0.5
"""A command whose block ends first gets SIGTERM, then SIGKILL; one that ignores SIGTERM, as interactive shells do,
gets SIGHUP in between."""
MAX_UNREAD = 1024 * 1024
"""Characters of output kept for `read` and `wait_for`; when nobody takes them, the oldest go."""
LAST_SHOWN = 200

Show = Callable[[Stream, str], None]


class Unread:
    """What was written and nobody has taken yet: the newest MAX_UNREAD characters. Adding costs nothing but the text,
    since most commands write much that is only shown."""

    def __init__(self) -> None:
        self._pieces: deque[str] = deque()
        self._length = 0

    def __bool__(self) -> bool:
        return self._length > 0

    def add(self, text: str) -> None:
        self._pieces.append(text)
        self._length += len(text)
        while self._length - len(self._pieces[0]) >= MAX_UNREAD:
            self._length -= len(self._pieces.popleft())

    def peek(self) -> str:
        whole = "".join(self._pieces)[-MAX_UNREAD:]
        self.put_back(whole)
        return whole

    def take(self) -> str:
        whole = self.peek()
        self.put_back("")
        return whole

    def put_back(self, text: str) -> None:
        """This, and nothing else, is unread."""
        self._pieces = deque([text] if text else [])
        self._length = len(text)


class Terminal:
    """One running command, made by `ctx.terminal(...)`. For one thread at a time, not always the same.

    What it writes is passed to `show` as it comes, and kept for `read`, iteration and `wait_for` until they take it.
    With `plain` these get text without escape sequences; `show` gets everything.
    """

    def __init__(
        self, spawned: Spawned, cancellation: Cancellation, show: Show | None = None, *, plain: bool = False
    ) -> None:
        self.pid = spawned.pid
        self._is_terminal = spawned.terminal_fd is not None
        self._pump = Pump(spawned, cancellation, self._take)
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
        """How it ended; None while it runs."""
        return self._pump.status

    @property
    def is_terminal(self) -> bool:
        """False on pipes."""
        return self._is_terminal

    # --- reading

    def read(self, timeout_s: float | None = None) -> str:
        """What it has written since the last time, waiting for the first of it; "" when it has ended.

        Raises TimeoutError, and JobCancelled when the job is to stop.
        """
        deadline = _deadline(timeout_s)
        while not self._unread and self.status is None:
            self._step(deadline)
        self._release_the_rest()
        return self._unread.take()

    def __iter__(self) -> Iterator[str]:
        """Everything it writes, piece by piece, until it ends. Raises JobCancelled when the job is to stop."""
        while text := self.read():
            yield text

    def wait_for(self, pattern: str | re.Pattern[str], timeout_s: float | None = None) -> re.Match[str]:
        """Wait until its output matches; what comes before and the match itself are then read.

        Raises TimeoutError, CommandEnded when it ends without, and JobCancelled when the job is to stop. The first two
        name the last of what was written instead.
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
        self._unread.put_back(unread[match.end() :])
        return match

    def wait(self, timeout_s: float | None = None) -> ExitStatus:
        """Wait until it ends. Raises TimeoutError, and JobCancelled after it went because the job is to stop."""
        deadline = _deadline(timeout_s)
        while self._pump.status is None:
            self._pump.step(deadline)
        self._stop_if_asked()
        return self._pump.status

    def run(self, typed: JobStdin | None = None) -> ExitStatus:
        """Pass on what is `typed` into the job (`ctx.typed`) until the command ends. Raises as `wait`."""
        if typed is not None:
            self._pump.input.attach(typed)
        return self.wait()

    # --- writing

    def write(self, text: str | bytes, timeout_s: float | None = None) -> None:
        """Type `text`, and wait until it is taken; what the command writes meanwhile is kept.

        Raises CommandEnded when nobody will read it, TimeoutError, and JobCancelled when the job is to stop.
        """
        deadline = _deadline(timeout_s)
        self._pump.input.type(text.encode() if isinstance(text, str) else text)
        while self._pump.input.unsent_bytes and self._pump.takes_input:
            self._step(deadline)
        if not self._pump.takes_input:
            self._pump.input.drop_unsent()
            raise CommandEnded(f"cannot write: the command {self.status or 'has closed its input'}")

    def end_input(self) -> None:
        """No more will be typed: Ctrl-D in a terminal, the end of stdin on pipes."""
        self._pump.input.type(b"", eof=True)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal's programs its new size (SIGWINCH). Nothing happens on pipes, which have none."""
        self._pump.spawned.resize(rows, columns)

    # --- ending

    def signal(self, number: signal.Signals) -> None:
        """Signal the command's process group, and what runs in the terminal's foreground. Stopped ones wake up."""
        self._pump.signal(number)

    def leave(self) -> None:
        """The block ends: end the command if it still runs, but let live what it has left in the background."""
        if self.status is None and not self._cancellation.requested and self._pump.has_exited():
            self._pump.finish()
        if self.status is not None and (self._pump.open_outputs or self._pump.has_group()):
            self._background = Background(self._pump)
            self._background.start()
        else:
            self.close()

    def when_over(self, then: Callable[[], object]) -> None:
        """Call `then` when nothing is left of the command, at the latest at the end of `close()`. After `leave`."""
        if self._background is None:
            then()
        else:
            self._background.when_over(then)

    def close(self) -> None:
        """End the command if it still runs, with what it has left in its process group, and close the terminal.

        When the job is to stop it has as long as the ladder gives it; else CLOSE_GRACE_S.
        """
        if self._background is not None:
            self._background.end(CLOSE_GRACE_S)
            return
        left_to_the_ladder = self._pump.listening and self._cancellation.requested
        self._pump.listening = True
        self._pump.ask()
        self._pump.listening = False
        if not left_to_the_ladder:
            self._end_within_grace()
        self._ends_within(None)
        self._pump.close()

    def _end_within_grace(self) -> None:
        began = time.monotonic()
        if not self._ends_within(HANGUP_AFTER_S):
            if ignores(self.pid, signal.SIGTERM):
                self.signal(signal.SIGHUP)
            if not self._ends_within(CLOSE_GRACE_S - HANGUP_AFTER_S):
                self.signal(signal.SIGKILL)
        self._pump.end_group(CLOSE_GRACE_S - (time.monotonic() - began))

    def _ends_within(self, seconds: float | None) -> bool:
        deadline = _deadline(seconds)
        try:
            while self.status is None:
                self._pump.step(deadline)
        except TimeoutError:
            return False
        return True

    def _step(self, deadline: float | None) -> None:
        self._stop_if_asked()
        self._pump.step(deadline)
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self._pump.listening:
            self._cancellation.raise_if_requested()

    def _peek(self) -> str:
        self._release_the_rest()
        return self._unread.peek()

    def _release_the_rest(self) -> None:
        """What looked like the beginning of an escape sequence was none, when nothing follows any more."""
        if self._plain is not None and self.status is not None and (rest := self._plain.feed("", final=True)):
            self._unread.add(rest)

    def _take(self, stream: Stream, text: str) -> None:
        if self._show is not None:
            self._show(stream, text)
        if self._plain is not None:
            text = self._plain.feed(text)
        self._unread.add(text)


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s
