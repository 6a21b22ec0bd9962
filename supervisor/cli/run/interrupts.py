"""The user's signals while `run` follows its job: the first cancels, the second kills, the third leaves."""

from __future__ import annotations

import asyncio
import signal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from deadstop.client.errors import ClientError
from supervisor.cli.run.progress import JobProgress
from supervisor.cli.run.view import View

if TYPE_CHECKING:
    from deadstop.client.client import JsonClient

EVENTS_BEFORE_CANCEL = 20


class Interrupts:
    """Handles Ctrl-C, SIGTERM and SIGHUP between enter and exit. Each of them takes the stop one step further.

    The cancel is a request of its own, by the job's ID, which we chose: it does not depend on an event, and may even
    overtake the submit. The stream stays open, and the ladder and the verdict come through it.
    """

    def __init__(self, client: JsonClient, progress: JobProgress, view: View) -> None:
        self._client = client
        self._progress = progress
        self._view = view
        self._requests: set[asyncio.Task[None]] = set()
        self._handlers_before: dict[signal.Signals, Any] = {}
        self.leave = asyncio.Event()
        """Set when the user does not want to wait for the verdict, or for a slow reader after it."""

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            # Under nohup the end of the terminal does not concern us. An ignored SIGINT is different: shells ignore
            # it for everything that a script starts with `&`, and a later `kill -INT` is then meant for us.
            if number is signal.SIGHUP and before is signal.SIG_IGN:
                continue
            self._handlers_before[number] = before
            loop.add_signal_handler(number, self.escalate, number.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number, before in self._handlers_before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, before)
        for request in self._requests:
            request.cancel()

    def escalate(self, why: str) -> None:
        """Cancel at the first call, kill at the second, and leave at the third and at any after the job's end."""
        self._progress.interrupts += 1
        if self._progress.end is not None or self._progress.interrupts > 2:
            self.leave.set()
            return
        self._view.interrupted(self._progress)
        self._send(why, force=self._progress.interrupts == 2)

    def output_gone(self) -> None:
        """Cancel the job, because its output has no reader any more."""
        if not self._progress.interrupts and self._progress.end is None:
            self._progress.interrupts = 1
            self._send("the reader of the output left", force=False)

    def _send(self, why: str, *, force: bool) -> None:
        self._view.hurry()
        task = asyncio.create_task(self._cancel(why, force=force))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _cancel(self, why: str, *, force: bool) -> None:
        reason = "Ctrl-C" if why == "SIGINT" else why
        try:
            job = await self._client.cancel(self._progress.job_id, reason=reason, force=force)
        except ClientError as exc:
            self._view.notice(f"cannot cancel: {exc}")
            return
        if self._view.may_skip:
            # What the job did just before the cancel is still shown, what it wrote long before may be left out.
            self._progress.skip_to = max(self._progress.skip_to, (job.get("last_event_id") or 0) - EVENTS_BEFORE_CANCEL)
