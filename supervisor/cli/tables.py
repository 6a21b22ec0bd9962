"""The output of `ps`, `tasks` and `show`: aligned for people on a terminal, tab-separated in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from supervisor.cli import formatting
from supervisor.cli.arguments import signature

Json = Any
Row = tuple[str, ...]
Fact = tuple[str, str]

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
HELD = {"acquired": "holds", "released": "released", "removed": "removed"}
COMMAND_SHOWN = 200
"""Characters of a process's command line."""


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
    """Print to stdout. `colour_column` is the index of the column that holds states, which have colours."""
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
    """Return the proof and time of a stop, or the error of a failure; nothing while it runs or after a success."""
    record = job.get("cancellation")
    if isinstance(record, dict):
        if record.get("survivors"):
            return formatting.survivors(record["survivors"])
        gone_ms = record.get("gone_ms")
        return f"{record.get('proof')} {formatting.milliseconds(gone_ms)}" if gone_ms is not None else ""
    error = job.get("error")
    return formatting.one_line(str(error.get("message") or ""))[:60] if isinstance(error, dict) else ""


def print_job(job: dict[str, Json], processes: list[dict[str, Json]]) -> None:
    """Print everything about a job to stdout. `processes` are those of a job that is still running."""
    facts = [*_facts(job), *_cancellation(job.get("cancellation")), *_processes(processes)]
    if not os.isatty(sys.stdout.fileno()):
        for name, value in facts:
            print(f"{name}\t{formatting.one_line(value)}")
        return
    from rich.console import Console  # noqa: PLC0415  # only paid for on a terminal
    from rich.panel import Panel  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(name, Text(formatting.lines(value), style=STATE_COLOURS.get(value, "") if name == "state" else ""))
    Console(highlight=False).print(
        Panel(grid, title=Text(f"{job['task']} · {job['id']}"), title_align="left", border_style="dim")
    )


def _facts(job: dict[str, Json]) -> Iterator[Fact]:
    yield "id", str(job["id"])
    yield "task", str(job["task"])
    yield "state", str(job["state"])
    if job.get("phase"):
        yield "phase", str(job["phase"])
    yield "input", formatting.compact(job.get("input"))
    if job.get("labels"):
        yield "labels", " ".join(f"{key}={value}" for key, value in job["labels"].items())
    for name in ("created_at", "started_at", "finished_at"):
        if job.get(name):
            yield name, f"{job[name]} ({formatting.age(job[name])} ago)"
    took = formatting.between(job.get("started_at"), job.get("finished_at"))
    if took:
        yield "took", took
    if job.get("timeout_s") is not None:
        yield "timeout", f"{job['timeout_s']:g} s"
    yield "on_disconnect", str(job.get("on_disconnect"))
    yield "containment", str(job.get("containment"))
    yield from _outcome(job)
    for entry in job.get("resources") or []:
        yield HELD.get(str(entry.get("action")), "holds"), f"{entry.get('kind')} {entry.get('name')}"
    yield "last_event_id", str(job.get("last_event_id"))


def _outcome(job: dict[str, Json]) -> Iterator[Fact]:
    if job.get("result") is not None:
        yield "result", formatting.compact(job["result"])
    error = job.get("error")
    if error:
        yield "error", f"{error.get('kind')}: {error.get('message')}"
        for name in ("exit_code", "signal"):
            if error.get(name) is not None:
                yield name, str(error[name])
        if error.get("traceback"):
            yield "traceback", str(error["traceback"]).rstrip()
    if job.get("leftovers"):
        yield "leftovers", f"{formatting.count(int(job['leftovers']), 'process')} ended after it"


def _cancellation(record: dict[str, Json] | None) -> Iterator[Fact]:
    if not record:
        return
    detail = f" ({record['detail']})" if record.get("detail") else ""
    yield "cancelled by", f"{formatting.reason(record)}{detail}{', by force' if record.get('force') else ''}"
    yield "requested_at", str(record.get("requested_at"))
    steps = (("acknowledged", "acknowledged_ms"), ("SIGTERM", "terminated_ms"), ("SIGKILL", "killed_ms"))
    for name, key in steps:
        if record.get(key) is not None:
            yield name, formatting.milliseconds(record[key])
    if record.get("gone_ms") is not None:
        within = {True: "within", False: "later than"}.get(record.get("within_budget"), "of")  # type: ignore[arg-type]
        yield "gone", f"{formatting.milliseconds(record['gone_ms'])}, {within} {record.get('budget_s'):g} s"
    yield "method", str(record.get("method"))
    yield "proof", str(record.get("proof"))
    yield "processes_seen", str(record.get("processes_seen"))
    for survivor in record.get("survivors") or []:
        yield "survivor", formatting.survivors([survivor])
    yield "workspace", "removed" if record.get("workspace_removed") else "not removed"


def _processes(processes: list[dict[str, Json]]) -> Iterator[Fact]:
    for process in processes:
        name = str(process.get("name"))
        # Our own processes are interpreters: their names say more than their command lines.
        arguments = [] if name.startswith("deadstop-") else process.get("cmdline") or []
        command = formatting.one_line(" ".join(arguments)) or name
        rss_mib = (process.get("rss_bytes") or 0) / 2**20
        yield "process", f"{process.get('pid')} {process.get('status')} {rss_mib:.0f} MiB  {command[:COMMAND_SHOWN]}"
