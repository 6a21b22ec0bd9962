"""Processes left two seconds after a stop: Deadstop beside the ways in which servers stop their children today.

    python -m bench.peers

Every sin in tests/children is started as a plain subprocess and stopped in each naive way, and started as a Deadstop
job whose client hangs up, all in one run. A pipe that every process of the sin inherits tells whether one is left.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from bench import report
from tests.children import SINS, Naive
from tests.support.client import EventStream
from tests.support.naive import NaiveJob
from tests.support.observer import Beacon
from tests.support.server import ROOT, RunningServer, running_server

BUDGET_S = 2.0
WAYS = {
    "pipe closed": Naive.CLOSE,
    "terminate()": Naive.TERMINATE,
    "kill()": Naive.KILL,
    "killpg(TERM)": Naive.TERMINATE_GROUP,
    "killpg(KILL)": Naive.KILL_GROUP,
}
OURS = "Deadstop"


def naive(sin: str, how: Naive, folder: Path) -> float | None:
    """Seconds until all is gone; None when something is left after the budget."""
    job = NaiveJob(sin, folder)
    try:
        job.wait_ready()
        stopped = time.monotonic()
        job.stop(how)
        return time.monotonic() - stopped if job.beacon.wait_eof(stopped + BUDGET_S) else None
    finally:
        if not job.clean_up(time.monotonic() + 25):
            raise RuntimeError(f"cannot clean up after {sin}")


def ours(server: RunningServer, sin: str, folder: Path) -> float | None:
    argv = [sys.executable, "-P", "-m", "tests.children", sin, "--beacon"]
    with Beacon(folder / "beacon") as beacon:
        body = {"task": "shell", "input": {"argv": [*argv, str(beacon.path)], "env": {"PYTHONPATH": str(ROOT)}}}
        with EventStream(server.url, server.token, body=body) as stream:
            job_id = stream.until_type("job.queued").data["job_id"]
            if not beacon.wait_in_place(20):
                raise RuntimeError(f"{sin} is not in place")
            hung_up = stream.hang_up()
            gone = beacon.wait_eof(hung_up + BUDGET_S)
            after_s = time.monotonic() - hung_up
        server.wait_finished(job_id)
    return after_s if gone else None


def main() -> None:
    found: dict[str, dict[str, float | None]] = {}
    with tempfile.TemporaryDirectory(prefix="ds-") as name:
        folder = Path(name)
        with running_server(folder / "state") as server:
            for sin in SINS:
                found[sin] = {}
                for title, how in WAYS.items():
                    place = folder / f"{sin}-{how}"
                    place.mkdir()
                    found[sin][title] = naive(sin, how, place)
                place = folder / sin
                place.mkdir()
                found[sin][OURS] = ours(server, sin, place)
    columns = [*WAYS, OURS]
    rows = [(sin, *("left" if by[way] is None else f"{by[way]:.2f} s" for way in columns)) for sin, by in found.items()]
    clean = [f"{sum(by[way] is not None for by in found.values())} of {len(found)}" for way in columns]
    report.table("gone within 2 s of the stop?", ("sin", *columns), [*rows, ("clean", *clean)])
    report.save("peers", {"budget_s": BUDGET_S, "gone_after_s": found})
    plot(found, columns, clean)


def plot(found: dict[str, dict[str, float | None]], columns: list[str], clean: list[str]) -> None:
    figure, axes = report.figure(8, 5.2)
    for row, by in enumerate(found.values()):
        for column, way in enumerate(columns):
            value = by[way]
            color = report.BAD if value is None else report.GOOD
            axes.scatter(column, row, s=150, marker="s", color=color, alpha=0.9 if value is None else 0.75)
            if value is not None:
                axes.text(column + 0.16, row, f"{value:.2f} s", fontsize=7, va="center", color=report.INK)
    axes.set_xticks(range(len(columns)), [f"{way}\n{count}" for way, count in zip(columns, clean, strict=True)])
    axes.set_yticks(range(len(found)), [sin.replace("_", " ") for sin in found])
    axes.xaxis.tick_top()
    axes.set_xlim(-0.5, len(columns) - 0.3)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(
        "red: something is left two seconds after the stop; green: all gone, and after how long", fontsize=8
    )
    report.draw(figure, "peers")


if __name__ == "__main__":
    main()
