"""What `run` shows when stdout is no terminal: output on stdout, the job's course on stderr."""

from __future__ import annotations

import json
import os

from deadstop.client.events import Event
from supervisor.cli import formatting
from supervisor.cli.run.output_writer import STDERR, STDOUT, Outlet
from supervisor.cli.run.progress import Story
from supervisor.cli.run.view import View


class PlainView(View):
    """The job's output on stdout, on a terminal with its control characters made visible; about the job, on stderr."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._newline = _Newlines()
        self._on_terminal = {fd: os.isatty(fd) for fd in (STDOUT, STDERR)}
        self._same_terminal = all(self._on_terminal.values())
        self._mid_line = False

    async def show(self, event: Event, story: Story) -> None:
        if event.type == "job.output":
            self._output(str(event.data.get("stream")), str(event.data.get("text", "")))
            await self._outlet.room()
            return
        told = about(event, story)
        if told:
            self.notice(told)

    def notice(self, text: str) -> None:
        lead = "\n" if self._same_terminal and self._mid_line else ""
        self._mid_line = False
        self._outlet.put(STDERR, f"{lead}deadstop: {formatting.one_line(text)}\n")

    def hurry(self) -> None:
        self._outlet.hurry()

    def wished(self, story: Story) -> None:
        self.notice("asking to cancel; again: kill" if story.wishes == 1 else "asking to kill; again: leave")

    async def finish(self, story: Story) -> None:
        self._outlet.put(STDOUT, self._newline.flush())
        if story.end is not None:
            traceback = (story.end.data.get("error") or {}).get("traceback")
            if traceback:
                self._outlet.put(STDERR, f"{formatting.lines(str(traceback))}\n")
            self.notice(f"{formatting.end(story.state, story.end.data)} ({formatting.duration(story.elapsed_s)})")
        await self._outlet.drain()

    def _output(self, stream: str, text: str) -> None:
        if stream == "stderr":
            self._outlet.put(STDERR, self._fit(STDERR, text))
            return
        out = self._fit(STDOUT, self._newline.feed(text) if stream == "terminal" else text)
        self._outlet.put(STDOUT, out)
        self._mid_line = not out.endswith("\n") if out else self._mid_line

    def _fit(self, fd: int, text: str) -> str:
        """As it is for a program that reads it; without anything that a terminal would obey for a person."""
        return formatting.pictured(text) if self._on_terminal[fd] else text


class JsonView(View):
    """Every event as one line of JSON on stdout; stderr has only what goes wrong between us and the server."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    async def show(self, event: Event, story: Story) -> None:
        self._outlet.put(STDOUT, f"{json.dumps({'type': event.type} | event.data)}\n")
        await self._outlet.room()

    def notice(self, text: str) -> None:
        self._outlet.put(STDERR, f"deadstop: {formatting.one_line(text)}\n")

    def hurry(self) -> None:
        self._outlet.hurry()

    async def finish(self, story: Story) -> None:
        await self._outlet.drain()


class _Newlines:
    """Turns a terminal's CR LF into LF, also when the pair is cut in two."""

    def __init__(self) -> None:
        self._held_back = ""

    def feed(self, text: str) -> str:
        text = self._held_back + text
        self._held_back = "\r" if text.endswith("\r") else ""
        return text.removesuffix("\r").replace("\r\n", "\n")

    def flush(self) -> str:
        rest, self._held_back = self._held_back, ""
        return rest


def about(event: Event, story: Story) -> str | None:
    """One line about the job's course; None for output, for the end, and for what does not interest a person."""
    data = event.data
    match event.type:
        case "job.queued":
            return f"job {story.job_id} ({story.task}) queued"
        case "job.running":
            return f"running, pid {data.get('pid')}"
        case "job.phase":
            detail = f": {data['detail']}" if data.get("detail") else ""
            return f"phase {data.get('phase')}{detail}"
        case "job.progress":
            return f"progress {formatting.progress(data)}"
        case "job.log":
            return f"{data.get('level')}: {formatting.log_line(data)}"
        case "job.resource" if story.is_workspace(data):
            return None
        case "job.resource":
            return f"{data.get('action')} {data.get('kind')} {formatting.one_line(str(data.get('name')))}"
        case "stream.gap":
            return f"events {data.get('from')} to {data.get('to')} are no longer kept"
        case "stream.closing":
            return "the server is closing its streams"
        case _:
            return _about_stop(event, story)


def _about_stop(event: Event, story: Story) -> str | None:
    if story.stop is None or not event.type.startswith("cancel."):
        return None
    steps = {step.name: step for step in story.stop.steps}
    data = event.data
    match event.type:
        case "cancel.requested":
            reason = formatting.REASONS.get(story.stop.reason, story.stop.reason)
            return f"cancelling ({reason}), budget {story.stop.budget_s:g} s"
        case "cancel.acknowledged":
            return f"acknowledged after {formatting.milliseconds(steps['acknowledged'].at_ms)}"
        case "cancel.signalled":
            step = steps[str(data.get("signal"))]
            sent = len(data.get("pids") or [])
            after = formatting.milliseconds(step.at_ms)
            return f"{step.name} to {formatting.count(sent, 'process')}, {after} after the request"
        case "cancel.unproven":
            return f"not proven gone: {formatting.survivors(story.stop.survivors)}; the server keeps trying"
        case _:
            return None
