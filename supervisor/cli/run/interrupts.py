"""What a user's wish to stop does while `run` follows its job: ask, then force, then leave."""

from __future__ import annotations

import asyncio
import signal
from types import TracebackType
from typing import Any, Self

from deadstop.client.client import Client, Request
from supervisor.cli.exits import CommandError
from supervisor.cli.run.progress import Story
from supervisor.cli.run.view import View

EVENTS_BEFORE_CANCEL = 20


class Stopper:
    """Listens to Ctrl-C, SIGTERM and SIGHUP between enter and exit. Each of them means "one step further".

    The cancel is a request of its own, by the job's id, which we chose: it needs no event to have come, and may
    even overtake the submit. The stream stays open, and the ladder and the verdict come through it.
    """

    def __init__(self, client: Client, story: Story, view: View) -> None:
        self._client = client
        self._story = story
        self._view = view
        self._requests: set[asyncio.Task[None]] = set()
        self._before: dict[signal.Signals, Any] = {}
        self.leave = asyncio.Event()
        """Set when the user does not want to wait for the verdict, or for his own slow reader after it."""

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            # Under nohup the terminal's end is nothing to us. An ignored SIGINT is different: shells ignore it
            # for whatever a script starts with `&`, and who then sends one by `kill -INT` means it.
            if number is signal.SIGHUP and before is signal.SIG_IGN:
                continue
            self._before[number] = before
            loop.add_signal_handler(number, self.further, number.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number, before in self._before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, before)
        for request in self._requests:
            request.cancel()

    def further(self, why: str) -> None:
        """First wish: cancel. Second: force. Third, and any after the job's end: leave."""
        self._story.wishes += 1
        if self._story.end is not None or self._story.wishes > 2:
            self.leave.set()
            return
        self._view.wished(self._story)
        self._send(why, force=self._story.wishes == 2)

    def output_gone(self) -> None:
        """Nobody reads our output any more, so nobody wants the job."""
        if not self._story.wishes and self._story.end is None:
            self._story.wishes = 1
            self._send("the reader of the output left", force=False)

    def _send(self, why: str, *, force: bool) -> None:
        self._view.hurry()
        task = asyncio.create_task(self._cancel(why, force=force))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _cancel(self, why: str, *, force: bool) -> None:
        name = "Ctrl-C" if why == "SIGINT" else why
        body: dict[str, Any] = {"reason": name} | ({"force": True} if force else {})
        try:
            job = await self._client.ask(Request("POST", f"/jobs/{self._story.job_id}/cancel", body))
        except CommandError as exc:
            self._view.notice(f"cannot cancel: {exc}")
            return
        if self._view.may_skip:
            # What the job did just before the cancel is still shown, what it wrote long before may be left out.
            self._story.skip_to = max(self._story.skip_to, (job.get("last_event_id") or 0) - EVENTS_BEFORE_CANCEL)
