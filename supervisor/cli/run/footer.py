"""How the live view's footer and the verdict look. Drawn from a `Story`, changes nothing."""

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
from supervisor.cli.run.progress import Stop, Story

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "cancelling": "yellow",
    "cancelled": "yellow",
    "timed_out": "yellow",
    "lost": "red",
}
MARKS = {"succeeded": "✔", "failed": "✘", "cancelled": "■", "timed_out": "■", "lost": "?"}
BAR_WIDTH = 16
"""On 80 columns there is then room for what the next Ctrl-C does."""
HELD_SHOWN = 4


def running(story: Story, partial: Line) -> RenderableType:
    """The line being written, a rule, and the job's state in one to a few lines."""
    parts: list[RenderableType] = []
    if partial:
        parts.append(_partial(partial))
    parts.append(_rule(story))
    parts.append(_stopping(story, story.stop) if story.stop else _working(story))
    if story.stop:
        parts += ladder(story.stop)
    else:
        parts += _details(story)
    return Group(*parts)


def verdict(story: Story) -> Iterator[RenderableType]:
    """What stays on the screen: the ladder if there was one, and how the job ended, if that is known."""
    if story.end is None and story.stop is None:
        return
    yield _rule(story)
    if story.stop:
        yield from ladder(story.stop)
    if story.end is not None:
        yield from _end(story, story.end)


def _end(story: Story, end: Event) -> Iterator[RenderableType]:
    traceback = (end.data.get("error") or {}).get("traceback")
    if traceback:
        yield Text(formatting.lines(str(traceback)), style="dim")
    colour, state = f"bold {COLOURS.get(story.state, '')}", story.state.replace("_", " ")
    line = Text.assemble((f"{MARKS.get(story.state, '?')} {state}", colour))
    if story.cancellation:
        line.append(f" ({formatting.reason(story.cancellation)})")
    else:
        line.append(formatting.end(story.state, end.data).removeprefix(state))
    line.append(f" · {formatting.duration(story.elapsed_s)}", style="dim")
    yield line
    if story.cancellation:
        yield Padding(formatting.stop_facts(story.cancellation), (0, 0, 0, 2))


def ladder(stop: Stop) -> list[RenderableType]:
    """One line for each step that was taken."""
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


def _rule(story: Story) -> Text:
    return Text(f"─── {story.task} · {story.job_id} ───", style="dim", no_wrap=True, overflow="ellipsis")


def _working(story: Story) -> RenderableType:
    state = Text.assemble((_spinner(), "cyan"), " ", (story.state, "bold cyan"))
    if story.phase:
        state.append(f" · {story.phase}")
    state.append(f" · {formatting.duration(story.elapsed_s)}")
    if story.wishes:
        state.append(" · asking the server to stop it", style="yellow")
    elif story.pid:
        state.append(f" · pid {story.pid}", style="dim")
    return _line(state, _next_wish(story))


def _stopping(story: Story, stop: Stop) -> RenderableType:
    spent_s = story.clock() - stop.seen_at
    state = Text.assemble((_spinner(), "yellow"), " ", ("cancelling", "bold yellow"))
    state.append(f" · {formatting.REASONS.get(stop.reason, stop.reason)}")
    state.append(f" · {spent_s:.2f} of {stop.budget_s:.2f} s ")
    bar = ProgressBar(
        total=stop.budget_s, completed=min(spent_s, stop.budget_s), width=BAR_WIDTH, complete_style="yellow"
    )
    return _line(state, _next_wish(story), bar)


def _next_wish(story: Story) -> str:
    match story.wishes:
        case 0:
            return "Ctrl-C cancels" if story.stop is None else ""
        case 1:
            return "Ctrl-C again kills"
        case _:
            return "Ctrl-C again leaves"


def _details(story: Story) -> Iterator[RenderableType]:
    if story.progress:
        total = story.progress.get("total")
        told = Text(f" {formatting.progress(story.progress)}", no_wrap=True, overflow="ellipsis")
        if isinstance(total, (int, float)) and total > 0:
            done = float(story.progress.get("done") or 0)
            yield _line(told, "", ProgressBar(total=float(total), completed=done, width=BAR_WIDTH), bar_first=True)
        else:
            yield told
    if story.held:
        # A file in the job's workspace is known by its name there; the folders above say nothing.
        own = f"/{story.job_id}/"
        names = [f"{kind} {formatting.one_line(name).rpartition(own)[2]}" for kind, name in story.held[-HELD_SHOWN:]]
        more = len(story.held) - len(names)
        text = " · ".join(names) + (f" · {more} more" if more else "")
        yield Text(f"  holds {text}", style="dim", no_wrap=True, overflow="ellipsis")


def _line(left: Text, hint: str, bar: ProgressBar | None = None, *, bar_first: bool = False) -> RenderableType:
    """Text and a bar side by side, and a hint at the right edge."""
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
