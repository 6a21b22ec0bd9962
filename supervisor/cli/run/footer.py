"""The live view's footer and the verdict, drawn from a `JobProgress`."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deadstop.client.events import Event
from supervisor.cli import formatting
from supervisor.cli.run.line_screen import Line
from supervisor.cli.run.progress import Cancellation, JobProgress
from supervisor.cli.tables import STATE_COLOURS

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
MARKS = {"succeeded": "✔", "failed": "✘", "cancelled": "■", "timed_out": "■", "lost": "?"}
BAR_WIDTH = 16
"""On 80 columns there is then room for what the next Ctrl-C does."""
HELD_SHOWN = 4


def running(progress: JobProgress, partial: Line) -> RenderableType:
    """Return the line being written, a rule, and the job's state in one to a few lines."""
    parts: list[RenderableType] = []
    if partial:
        parts.append(_partial(partial))
    parts.append(_rule(progress))
    parts.append(_stopping(progress, progress.stop) if progress.stop else _working(progress))
    if progress.stop:
        parts += ladder(progress.stop)
    else:
        parts += _details(progress)
    return Group(*parts)


def verdict(progress: JobProgress) -> Iterator[RenderableType]:
    """Yield what stays on the screen: the ladder if there was one, and how the job ended, if that is known."""
    if progress.end is None and progress.stop is None:
        return
    yield _rule(progress)
    if progress.stop:
        yield from ladder(progress.stop)
    if progress.end is not None:
        yield from _end(progress, progress.end)


def _end(progress: JobProgress, end: Event) -> Iterator[RenderableType]:
    traceback = (end.data.get("error") or {}).get("traceback")
    if traceback:
        yield Text(formatting.lines(str(traceback)), style="dim")
    colour, state = f"bold {STATE_COLOURS.get(progress.state, '')}", progress.state.replace("_", " ")
    line = Text.assemble((f"{MARKS.get(progress.state, '?')} {state}", colour))
    if progress.cancellation:
        line.append(f" ({formatting.reason(progress.cancellation)})")
    else:
        line.append(formatting.end(progress.state, end.data).removeprefix(state))
    line.append(f" · {formatting.duration(progress.elapsed_s)}", style="dim")
    yield line
    if progress.cancellation:
        yield Padding(formatting.stop_facts(progress.cancellation), (0, 0, 0, 2))


def ladder(stop: Cancellation) -> list[RenderableType]:
    """Return one line for each step that was taken."""
    lines: list[RenderableType] = []
    for step in stop.steps:
        styles = {"SIGTERM": "yellow", "SIGKILL": "red", "gone": "green"}
        line = Text.assemble(
            "  ",
            (f"{step.name:<13}", styles.get(step.name, "")),
            (f"{formatting.milliseconds(step.at_ms):>10}", ""),
            no_wrap=True,
        )
        if step.pids:
            line.append(f"   {formatting.count(len(step.pids), 'process')}", style="dim")
        lines.append(line)
    if stop.survivors:
        lines.append(Text(f"  {formatting.survivors(stop.survivors)}", style="bold red"))
    return lines


def _partial(line: Line) -> Text:
    return Text.assemble(*((text, style or "") for text, style in line), no_wrap=True, overflow="crop")


def _rule(progress: JobProgress) -> Text:
    return Text(f"─── {progress.task} · {progress.job_id} ───", style="dim", no_wrap=True, overflow="ellipsis")


def _working(progress: JobProgress) -> RenderableType:
    state = Text.assemble((_spinner(), "cyan"), " ", (progress.state, "bold cyan"))
    if progress.phase:
        state.append(f" · {progress.phase}")
    state.append(f" · {formatting.duration(progress.elapsed_s)}")
    if progress.interrupts:
        state.append(" · asking the server to stop it", style="yellow")
    elif progress.pid:
        state.append(f" · pid {progress.pid}", style="dim")
    return _line(state, _next_interrupt(progress))


def _stopping(progress: JobProgress, stop: Cancellation) -> RenderableType:
    spent_s = progress.clock() - stop.seen_at
    state = Text.assemble((_spinner(), "yellow"), " ", ("cancelling", "bold yellow"))
    state.append(f" · {formatting.REASONS.get(stop.reason, stop.reason)}")
    state.append(f" · {spent_s:.2f} of {stop.budget_s:.2f} s ")
    bar = ProgressBar(
        total=stop.budget_s, completed=min(spent_s, stop.budget_s), width=BAR_WIDTH, complete_style="yellow"
    )
    return _line(state, _next_interrupt(progress), bar)


def _next_interrupt(progress: JobProgress) -> str:
    match progress.interrupts:
        case 0:
            return "Ctrl-C cancels" if progress.stop is None else ""
        case 1:
            return "Ctrl-C again kills"
        case _:
            return "Ctrl-C again leaves"


def _details(progress: JobProgress) -> Iterator[RenderableType]:
    if progress.reported:
        total = progress.reported.get("total")
        text = Text(f" {formatting.progress(progress.reported)}", no_wrap=True, overflow="ellipsis")
        if isinstance(total, (int, float)) and total > 0:
            done = float(progress.reported.get("done") or 0)
            yield _line(text, "", ProgressBar(total=float(total), completed=done, width=BAR_WIDTH), bar_first=True)
        else:
            yield text
    if progress.held:
        # A file in the job's workspace is shown by its path there; the folders above are of no interest.
        own = f"/{progress.job_id}/"
        names = [f"{kind} {formatting.one_line(name).rpartition(own)[2]}" for kind, name in progress.held[-HELD_SHOWN:]]
        more = len(progress.held) - len(names)
        shown = " · ".join(names) + (f" · {more} more" if more else "")
        yield Text(f"  holds {shown}", style="dim", no_wrap=True, overflow="ellipsis")


def _line(left: Text, hint: str, bar: ProgressBar | None = None, *, bar_first: bool = False) -> RenderableType:
    """Return text and a bar side by side, and a hint at the right edge."""
    left.no_wrap, left.overflow = True, "ellipsis"
    grid = Table.grid(expand=True)
    cells: list[RenderableType] = [left] if bar is None else [Text("  "), bar, left] if bar_first else [left, bar]
    for cell in cells:
        grid.add_column(width=BAR_WIDTH if isinstance(cell, ProgressBar) else None, no_wrap=True)
    grid.add_column(justify="right", ratio=1, no_wrap=True)
    grid.add_row(*cells, Text(hint, style="dim"))
    return grid


def _spinner() -> str:
    return SPINNER[int(time.monotonic() * 12) % len(SPINNER)]
