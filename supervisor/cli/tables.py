"""`ps` and `tasks` as tables: aligned for people on a terminal, tab-separated with a header in a pipe."""

from __future__ import annotations

import os
import sys
from typing import Any

from supervisor.cli import formatting
from supervisor.cli.arguments import signature

Json = Any
Row = tuple[str, ...]

JOB_COLUMNS = ("ID", "TASK", "STATE", "PHASE", "AGE", "TOOK", "END", "LABELS")
TASK_COLUMNS = ("NAME", "INPUT", "DESCRIPTION")

STATE_COLOURS = {
    "running": "cyan",
    "starting": "cyan",
    "cancelling": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "timed_out": "yellow",
    "lost": "red",
}


def job_row(job: dict[str, Json]) -> Row:
    labels = " ".join(f"{key}={value}" for key, value in (job.get("labels") or {}).items())
    return (
        str(job["id"]),
        str(job["task"]),
        str(job["state"]),
        str(job.get("phase") or ""),
        formatting.age(job.get("created_at")),
        formatting.between(job.get("started_at"), job.get("finished_at")) or formatting.age(job.get("started_at")),
        _how_it_ended(job),
        formatting.one_line(labels),
    )


def task_row(task: dict[str, Json]) -> Row:
    return (str(task["name"]), signature(task), formatting.one_line(str(task.get("description") or "")))


def print_table(columns: Row, rows: list[Row], *, colour_column: int | None = None) -> None:
    """To stdout. `colour_column` is the index of the column whose words have colours."""
    if not os.isatty(sys.stdout.fileno()):
        for row in (columns, *rows):
            print("\t".join(row))
        return
    from rich.console import Console  # noqa: PLC0415  # only paid for on a terminal
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    used = [index for index, name in enumerate(columns) if index < 3 or any(row[index] for row in rows)]
    for index in used:
        table.add_column(columns[index], no_wrap=index == 0, overflow="fold")
    for row in rows:
        cells = [
            Text(row[index], style=STATE_COLOURS.get(row[index], "") if index == colour_column else "")
            for index in used
        ]
        table.add_row(*cells)
    Console(highlight=False).print(table)


def _how_it_ended(job: dict[str, Json]) -> str:
    """Proof and time of a stop, the error of a failure, empty while it runs or after a success."""
    record = job.get("cancellation")
    if isinstance(record, dict):
        if record.get("survivors"):
            return formatting.survivors(record["survivors"])
        gone_ms = record.get("gone_ms")
        return f"{record.get('proof')} {formatting.milliseconds(gone_ms)}" if gone_ms is not None else ""
    error = job.get("error")
    return formatting.one_line(str(error.get("message") or ""))[:60] if isinstance(error, dict) else ""
