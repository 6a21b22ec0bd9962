"""`run`: submits a job, follows it to its end, and turns the end into an exit code."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from deadstop.client.client import HOLDING_SILENCE_LIMIT_S, Client, Request
from deadstop.client.events import Event
from deadstop.client.follow import follow
from supervisor.cli import exit_codes
from supervisor.cli.exit_codes import ExitCode
from supervisor.cli.exits import CommandError, Refused, Unreachable
from supervisor.cli.run.interrupts import Stopper
from supervisor.cli.run.output_writer import STDOUT, Outlet
from supervisor.cli.run.plain import JsonView, PlainView
from supervisor.cli.run.progress import Story
from supervisor.cli.run.view import View

Json = Any

VERDICT_GRACE_S = 10.0
"""How long past a cancellation's budget we wait for its verdict; the server's own backstop is within the budget."""
SURVIVORS_GRACE_S = 5.0
"""How long we stay after survivors were named: the server goes on sweeping and may still come to a proof."""
NOT_READY_PATIENCE_S = 15.0
"""How long we repeat a submit that a server refuses because it is still starting."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What to run. `id` is ours from the start, so that a cancel needs no answer to know it."""

    task: str
    input: dict[str, Json]
    id: str
    timeout_s: float | None = None
    labels: dict[str, str] | None = None

    def with_input(self, input_: dict[str, Json]) -> Submission:
        return replace(self, input=input_)

    def body(self) -> dict[str, Json]:
        body: dict[str, Json] = {"id": self.id, "task": self.task, "input": self.input}
        if self.timeout_s is not None:
            body["timeout_s"] = self.timeout_s
        if self.labels:
            body["labels"] = self.labels
        return body


def new_id() -> str:
    """A job id that nobody else makes; it starts with a letter so that no command takes it for an option."""
    return f"j{secrets.token_hex(7)}"


async def detach(client: Client, submission: Submission) -> dict[str, Json]:
    """Create the job and leave it to itself. Returns it as the server answered."""
    job: dict[str, Json] = await _patiently(
        lambda: client.ask(Request("POST", "/jobs", submission.body())), notice=None
    )
    return job


async def attend(client: Client, submission: Submission, *, as_json: bool, plain: bool) -> ExitCode:
    """Create the job and stay until its end; leaving in any way cancels it."""
    story = Story(submission.id, submission.task)
    async with Outlet() as outlet:
        view = _choose_view(story, outlet, as_json=as_json, plain=plain)
        with view, Stopper(client, story, view) as stopper:
            await _until_end(client, submission, story, view, stopper, outlet)
            await _first_of(view.finish(story), stopper.leave.wait())
    return _exit_code(story, outlet)


def _choose_view(story: Story, outlet: Outlet, *, as_json: bool, plain: bool) -> View:
    if as_json:
        return JsonView(outlet)
    if plain or not os.isatty(STDOUT) or os.environ.get("TERM", "dumb") in {"", "dumb"}:
        return PlainView(outlet)
    from supervisor.cli.run.live import LiveView  # noqa: PLC0415  # Rich is only paid for on a terminal

    return LiveView(story)


async def _until_end(
    client: Client, submission: Submission, story: Story, view: View, stopper: Stopper, outlet: Outlet
) -> None:
    """Follow the events into `story` and `view`. Raises CommandError when the end was not seen."""
    following = asyncio.create_task(_follow(client, submission, story, view))
    leaving = asyncio.create_task(stopper.leave.wait())
    overdue = _Overdue(story)
    try:
        while True:
            await asyncio.wait({following, leaving}, timeout=view.tick_s, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                break
            if stopper.leave.is_set():
                raise CommandError(_left(submission.id), ExitCode.UNPROVEN)
            if outlet.stdout_gone.is_set():
                stopper.output_gone()
            try:
                view.tick(story)
            except OSError:
                # The terminal is gone and takes no more drawing.
                outlet.stdout_gone.set()
            overdue.tick(view.tick_s)
        following.result()
    finally:
        for task in (following, leaving):
            task.cancel()
        await asyncio.gather(following, leaving, return_exceptions=True)


async def _follow(client: Client, submission: Submission, story: Story, view: View) -> None:
    opening = Request(
        "POST",
        "/execute/stream",
        submission.body(),
        headers=(("Accept", "text/event-stream"),),
        silence_limit_s=HOLDING_SILENCE_LIMIT_S,
    )

    async def once() -> None:
        events = follow(
            client,
            submission.id,
            opening,
            leaving_cancels=True,
            on_cut=view.notice,
            skip_to=lambda: story.skip_to,
        )
        async with aclosing(events):
            async for event in events:
                story.add(event)
                await view.show(event, story)

    await _patiently(once, notice=view.notice)
    if story.end is None:
        await _ask_for_the_end(client, story)


async def _ask_for_the_end(client: Client, story: Story) -> None:
    """The stream said that nothing is left, and the terminal event was not in what we saw of it."""
    job = await client.ask(Request("GET", f"/jobs/{story.job_id}"))
    event = Event(f"job.{job['state']}", None, job)
    if not event.terminal:
        raise Unreachable(f"the stream of job {story.job_id} ended while the job is {job['state']}")
    story.add(event)


class _Overdue:
    """Counts ticks, not clock time, so that a Ctrl-Z in between is no delay of the server's."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._stopping_s = 0.0
        self._survivors_s = 0.0

    def tick(self, passed_s: float) -> None:
        stop, job_id = self._story.stop, self._story.job_id
        if stop is None or self._story.end is not None:
            return
        self._stopping_s += passed_s
        self._survivors_s = self._survivors_s + passed_s if stop.survivors else 0.0
        if self._survivors_s > SURVIVORS_GRACE_S:
            raise CommandError(f"job {job_id} is not proven gone; ask later: deadstop show {job_id}", ExitCode.UNPROVEN)
        if self._stopping_s > stop.budget_s + VERDICT_GRACE_S:
            raise CommandError(
                f"no verdict on job {job_id} within {self._stopping_s:.0f} s; ask: deadstop show {job_id}",
                ExitCode.UNPROVEN,
            )


async def _patiently(attempt: Callable[[], Any], *, notice: Callable[[str], None] | None) -> Any:
    """Repeat what a server refuses with 503 while it is not ready, for NOT_READY_PATIENCE_S."""
    waited_s = 0.0
    while True:
        try:
            return await attempt()
        except Refused as exc:
            pause_s = max(0.2, exc.retry_after_s or 0.0)
            if exc.status != 503 or exc.retry_after_s is None or waited_s + pause_s > NOT_READY_PATIENCE_S:
                raise
            if notice is not None and not waited_s:
                notice(f"{exc}; waiting")
            await asyncio.sleep(pause_s)
            waited_s += pause_s


def _exit_code(story: Story, outlet: Outlet) -> ExitCode:
    code = exit_codes.for_end(story.state, story.proof)
    if outlet.failure is not None:
        raise CommandError(f"cannot write the output: {outlet.failure.strerror}", ExitCode.FAILED)
    if outlet.stdout_gone.is_set() and code is ExitCode.CANCELLED:
        return ExitCode.PIPE_CLOSED
    return code


def _left(job_id: str) -> str:
    return f"left before the verdict on job {job_id}; ask: deadstop show {job_id}"


async def _first_of(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
