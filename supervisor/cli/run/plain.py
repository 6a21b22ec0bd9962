"""The views of `run` in a pipe: the job's output on stdout and its course on stderr, or every event as JSON."""

from __future__ import annotations

import json
import os

from deadstop.client.events import Event
from supervisor.cli import formatting
from supervisor.cli.run.output_writer import STDERR, STDOUT, OutputWriter
from supervisor.cli.run.progress import JobProgress
from supervisor.cli.run.view import View


class PlainView(View):
    """The job's output is on stdout, its course on stderr. On a terminal, control characters are made visible."""

    def __init__(self, writer: OutputWriter) -> None:
        self._writer = writer
        self._newline = _Newlines()
        self._on_terminal = {fd: os.isatty(fd) for fd in (STDOUT, STDERR)}
        self._same_terminal = all(self._on_terminal.values())
        self._mid_line = False

    async def show(self, event: Event, progress: JobProgress) -> None:
        if event.type == "job.output":
            self._output(str(event.data.get("stream")), str(event.data.get("text", "")))
            await self._writer.room()
            return
        line = about(event, progress)
        if line:
            self.notice(line)

    def notice(self, text: str) -> None:
        lead = "\n" if self._same_terminal and self._mid_line else ""
        self._mid_line = False
        self._writer.put(STDERR, f"{lead}deadstop: {formatting.one_line(text)}\n")

    def hurry(self) -> None:
        self._writer.hurry()

    def interrupted(self, progress: JobProgress) -> None:
        self.notice("asking to cancel; again: kill" if progress.interrupts == 1 else "asking to kill; again: leave")

    async def finish(self, progress: JobProgress) -> None:
        self._writer.put(STDOUT, self._newline.flush())
        if progress.end is not None:
            traceback = (progress.end.data.get("error") or {}).get("traceback")
            if traceback:
                self._writer.put(STDERR, f"{formatting.lines(str(traceback))}\n")
            self.notice(
                f"{formatting.end(progress.state, progress.end.data)} ({formatting.duration(progress.elapsed_s)})"
            )
        await self._writer.drain()

    def _output(self, stream: str, text: str) -> None:
        if stream == "stderr":
            self._writer.put(STDERR, self._fit(STDERR, text))
            return
        out = self._fit(STDOUT, self._newline.feed(text) if stream == "terminal" else text)
        self._writer.put(STDOUT, out)
        self._mid_line = not out.endswith("\n") if out else self._mid_line

    def _fit(self, fd: int, text: str) -> str:
        """Return text as it is for a program that reads it, and without control characters for a terminal."""
        return formatting.pictured(text) if self._on_terminal[fd] else text


class JsonView(View):
    """Every event is one line of JSON on stdout; stderr has only what goes wrong between us and the server."""

    def __init__(self, writer: OutputWriter) -> None:
        self._writer = writer

    async def show(self, event: Event, progress: JobProgress) -> None:
        self._writer.put(STDOUT, f"{json.dumps({'type': event.type} | event.data)}\n")
        await self._writer.room()

    def notice(self, text: str) -> None:
        self._writer.put(STDERR, f"deadstop: {formatting.one_line(text)}\n")

    def hurry(self) -> None:
        self._writer.hurry()

    async def finish(self, progress: JobProgress) -> None:
        await self._writer.drain()


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


def about(event: Event, progress: JobProgress) -> str | None:
    """Return one line about the job's course, None for output, for the end, and for what is of no interest."""
    data = event.data
    match event.type:
        case "job.queued":
            return f"job {progress.job_id} ({progress.task}) queued"
        case "job.running":
            return f"running, pid {data.get('pid')}"
        case "job.phase":
            detail = f": {data['detail']}" if data.get("detail") else ""
            return f"phase {data.get('phase')}{detail}"
        case "job.progress":
            return f"progress {formatting.progress(data)}"
        case "job.log":
            return f"{data.get('level')}: {formatting.log_line(data)}"
        case "job.resource" if progress.is_workspace(data):
            return None
        case "job.resource":
            return f"{data.get('action')} {data.get('kind')} {formatting.one_line(str(data.get('name')))}"
        case "stream.gap":
            return f"events {data.get('from')} to {data.get('to')} are no longer kept"
        case "stream.closing":
            return "the server is closing its streams"
        case _:
            return _about_stop(event, progress)


def _about_stop(event: Event, progress: JobProgress) -> str | None:
    if progress.stop is None or not event.type.startswith("cancel."):
        return None
    steps = {step.name: step for step in progress.stop.steps}
    data = event.data
    match event.type:
        case "cancel.requested":
            reason = formatting.REASONS.get(progress.stop.reason, progress.stop.reason)
            return f"cancelling ({reason}), budget {progress.stop.budget_s:g} s"
        case "cancel.acknowledged":
            return f"acknowledged after {formatting.milliseconds(steps['acknowledged'].at_ms)}"
        case "cancel.signalled":
            step = steps[str(data.get("signal"))]
            sent = len(data.get("pids") or [])
            after = formatting.milliseconds(step.at_ms)
            return f"{step.name} to {formatting.count(sent, 'process')}, {after} after the request"
        case "cancel.unproven":
            return f"not proven gone: {formatting.survivors(progress.stop.survivors)}; the server keeps trying"
        case _:
            return None
