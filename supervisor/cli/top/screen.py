"""The screen of `top`, drawn from the server's answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from supervisor.cli import formatting
from supervisor.cli.tables import STATE_COLOURS

Json = Any

HOUR_S = 3600.0
_STATUS_COLOURS = {"ok": "green", "degraded": "yellow", "down": "red"}


@dataclass
class Screen:
    """The server at the last refresh, and what the user looks at. `showing` is stack, tree or nothing."""

    health: dict[str, Json] = field(default_factory=dict)
    jobs: list[dict[str, Json]] = field(default_factory=list)
    """Unfinished jobs: stuck ones first, then newest first."""
    ended: list[dict[str, Json]] = field(default_factory=list)
    """Jobs that were stopped, newest first."""
    more: bool = False
    """Whether older ones were left out of `ended`."""
    selected: str | None = None
    showing: str | None = None
    detail: dict[str, Json] = field(default_factory=dict)
    trouble: str | None = None

    def take(
        self, health: dict[str, Json], jobs: list[dict[str, Json]], ended: list[dict[str, Json]], *, more: bool = False
    ) -> None:
        self.health, self.ended, self.more = health, ended, more
        self.jobs = sorted(jobs, key=lambda job: job.get("stuck") is None)
        if self.selected not in {job["id"] for job in self.jobs}:
            self.selected = str(self.jobs[0]["id"]) if self.jobs else None
            self.showing = None

    def move(self, by: int) -> None:
        ids = [str(job["id"]) for job in self.jobs]
        if self.selected in ids:
            self.selected = ids[min(len(ids) - 1, max(0, ids.index(self.selected) + by))]
            self.showing = None


def draw(screen: Screen, height: int | None, now: datetime | None = None) -> RenderableType:
    """Return the whole screen, with as many jobs as fit into `height` lines, or all if there is no height."""
    now = now or datetime.now(UTC)
    stuck = [job for job in screen.jobs if job.get("stuck")]
    parts: list[RenderableType] = [_server(screen.health), _promise(screen, now)]
    parts += [_stuck(job) for job in stuck]
    parts.append(Rule(style="dim"))
    room = None if height is None else max(3, height - len(parts) - 4 - (height // 2 if screen.showing else 0))
    parts.append(_table(screen, room))
    if screen.showing and screen.selected:
        parts += [Rule(f"{screen.showing} of {screen.selected}", style="dim"), _detail(screen)]
    if screen.trouble:
        parts.append(Text(screen.trouble, style="red"))
    if height is not None:
        parts.append(Text("j k move · c cancel · f force · s stack · t tree · Esc close · q leave", style="dim"))
    return Group(*parts)


def _server(health: dict[str, Json]) -> Text:
    status = str(health.get("status"))
    failing = [f"{name}: {check['detail']}" for name, check in health.get("checks", {}).items() if not check["ok"]]
    level = (health.get("containment") or {}).get("level")
    facts = [f"containment {level}", f"version {health.get('version')}", *failing]
    return Text.assemble(
        "Dead",
        ("stop", "red"),
        "  ",
        (status, _STATUS_COLOURS.get(status, "")),
        "  ",
        formatting.one_line("  ".join(facts)),
    )


def _promise(screen: Screen, now: datetime) -> Text:
    records = [job["cancellation"] for job in screen.ended if _ended_within_an_hour(job, now) and job["cancellation"]]
    times = sorted(record["gone_ms"] for record in records if record["gone_ms"] is not None)
    late = sum(record["within_budget"] is False for record in records)
    at_least = "+" if screen.more and len(records) == len(screen.ended) else ""
    survivors = sum(len((job.get("cancellation") or {}).get("survivors") or []) for job in screen.jobs)
    return Text.assemble(
        f"cancels in the last hour {len(records)}{at_least}  p50 {_share(times, 0.5)}  p99 {_share(times, 0.99)}  ",
        (f"late {late}", "red" if late else "green"),
        "  ",
        (f"survivors {survivors}", "red" if survivors else "green"),
    )


def _share(times: list[float], share: float) -> str:
    return formatting.milliseconds(times[math.ceil(share * len(times)) - 1]) if times else "-"


def _ended_within_an_hour(job: dict[str, Json], now: datetime) -> bool:
    finished = formatting.when(job.get("finished_at"))
    return finished is not None and (now - finished).total_seconds() < HOUR_S


def _stuck(job: dict[str, Json]) -> Text:
    return Text.assemble(
        ("STUCK ", "bold red"), f"{job['task']} {job['id']}: ", (formatting.one_line(job["stuck"]["words"]), "red")
    )


def _table(screen: Screen, room: int | None) -> RenderableType:
    if not screen.jobs:
        return Text("no jobs are running", style="dim")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0), expand=True)
    for name, ratio in (("", None), ("ID", None), ("TASK", None), ("STATE", None), ("DOING", 1), ("RUNS", None)):
        table.add_column(name, ratio=ratio, no_wrap=True, overflow="ellipsis")
    first = 0
    if room is not None:
        index = next((i for i, job in enumerate(screen.jobs) if job["id"] == screen.selected), 0)
        first = max(0, min(index - room // 2, len(screen.jobs) - room))
    for job in screen.jobs[first : None if room is None else first + room]:
        mine = job["id"] == screen.selected
        state = "stuck" if job.get("stuck") else str(job["state"])
        table.add_row(
            ">" if mine else "",
            str(job["id"]),
            formatting.one_line(str(job["task"])),
            Text(state, style=STATE_COLOURS.get(state, "bold red")),
            formatting.one_line(str(job.get("phase") or "")),
            formatting.age(job.get("started_at") or job.get("created_at")),
            style="reverse" if mine and room is not None else "",
        )
    return table


def _detail(screen: Screen) -> RenderableType:
    if screen.showing == "stack":
        return Text(
            formatting.lines(str(screen.detail.get("stack") or f"no stack: {screen.detail.get('note')}")).rstrip()
        )
    rows = screen.detail.get("processes") or []
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("PID", "STATE", "CPU", "MEMORY", "COMMAND"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    depth: dict[int, int] = {}
    for row in rows:
        depth[row["pid"]] = depth.get(row["ppid"], -1) + 1
        left = "  (own session)" if row["session"] != rows[0]["session"] else ""
        command = formatting.one_line(" ".join(row["cmdline"]) or row["name"])
        table.add_row(
            str(row["pid"]),
            " ".join(filter(None, (row["status"], row.get("wait_channel")))),
            f"{row['cpu_percent']:.0f} %",
            f"{row['rss_bytes'] / 2**20:.0f} MiB",
            f"{'  ' * depth[row['pid']]}{command}{left}",
        )
    return table
