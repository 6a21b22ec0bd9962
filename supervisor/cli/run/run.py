"""`run`: submit a job, follow it to its end, and turn the end into an exit code."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from deadstop.client.submission import Submission
from supervisor.cli.exits import CommandError, ExitCode, for_end
from supervisor.cli.run.interrupts import Interrupts
from supervisor.cli.run.output_writer import STDOUT, OutputWriter
from supervisor.cli.run.plain import JsonView, PlainView
from supervisor.cli.run.progress import JobProgress
from supervisor.cli.run.view import View

if TYPE_CHECKING:
    from deadstop.client.client import JsonClient

VERDICT_GRACE_S = 10.0
"""How long past a cancellation's budget we wait for its verdict; the server's own backstop is within the budget."""
SURVIVORS_GRACE_S = 5.0
"""How long we stay after survivors were named: the server goes on sweeping and may still find a proof."""


async def attend(client: JsonClient, submission: Submission, *, as_json: bool, plain: bool) -> ExitCode:
    """Create the job and stay until its end. Leaving in any way cancels it."""
    progress = JobProgress(submission.id, submission.task)
    async with OutputWriter() as writer:
        view = _choose_view(progress, writer, as_json=as_json, plain=plain)
        with view, Interrupts(client, progress, view) as interrupts:
            await _until_end(client, submission, progress, view, interrupts, writer)
            await _first_of(view.finish(progress), interrupts.leave.wait())
    return _exit_code(progress, writer)


def _choose_view(progress: JobProgress, writer: OutputWriter, *, as_json: bool, plain: bool) -> View:
    if as_json:
        return JsonView(writer)
    if plain or not os.isatty(STDOUT) or os.environ.get("TERM", "dumb") in {"", "dumb"}:
        return PlainView(writer)
    from supervisor.cli.run.live import LiveView  # noqa: PLC0415  # Rich is only paid for on a terminal

    return LiveView(progress)


async def _until_end(
    client: JsonClient,
    submission: Submission,
    progress: JobProgress,
    view: View,
    interrupts: Interrupts,
    writer: OutputWriter,
) -> None:
    """Follow the events into `progress` and `view`. Raise CommandError if we leave without having seen the end."""
    following = asyncio.create_task(_follow(client, submission, progress, view))
    leaving = asyncio.create_task(interrupts.leave.wait())
    overdue = _Overdue(progress)
    try:
        while True:
            await asyncio.wait({following, leaving}, timeout=view.tick_s, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                break
            if interrupts.leave.is_set():
                raise CommandError(_left(submission.id), ExitCode.UNPROVEN)
            if writer.stdout_gone.is_set():
                interrupts.output_gone()
            try:
                view.tick(progress)
            except OSError:
                # The terminal was closed and cannot be drawn on any more.
                writer.stdout_gone.set()
            overdue.tick(view.tick_s)
        following.result()
    finally:
        for task in (following, leaving):
            task.cancel()
        await asyncio.gather(following, leaving, return_exceptions=True)


async def _follow(client: JsonClient, submission: Submission, progress: JobProgress, view: View) -> None:
    events = client.stream(submission, on_cut=view.notice, skip_to=lambda: progress.skip_to)
    async with aclosing(events):
        async for event in events:
            progress.add(event)
            await view.show(event, progress)


class _Overdue:
    """Ends the wait for a verdict that does not come. It counts ticks, so Ctrl-Z does not count as a delay."""

    def __init__(self, progress: JobProgress) -> None:
        self._progress = progress
        self._stopping_s = 0.0
        self._survivors_s = 0.0

    def tick(self, passed_s: float) -> None:
        stop, job_id = self._progress.stop, self._progress.job_id
        if stop is None or self._progress.end is not None:
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


def _exit_code(progress: JobProgress, writer: OutputWriter) -> ExitCode:
    code = for_end(progress.state, progress.proof)
    if writer.failure is not None:
        raise CommandError(f"cannot write the output: {writer.failure.strerror}", ExitCode.FAILED)
    if writer.stdout_gone.is_set() and code is ExitCode.CANCELLED:
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
