"""From the client's hang-up until everything is gone, as seen from outside.

    python -m bench.hangup [--rounds 20]

A real server, a real socket that is closed, pidfds on every process below the server that belongs to the job. The
claim: a polite job is gone within 100 ms (median of 20); a rude one within the budget of 2 s.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from pathlib import Path

from bench import report
from tests.support.client import EventStream
from tests.support.observer import Beacon, Watched, descendants
from tests.support.server import RunningServer, running_server

CLAIM_MS = 100
BUDGET_MS = 2000
CASES = {
    "polite task": ("task", "polite_loop"),
    "polite shell": ("shell", "polite_loop"),
    "shell tree": ("shell", "shell_tree"),
    "daemons (setsid)": ("shell", "setsid_child"),
    "time.sleep": ("task", "time_sleep"),
    "holds the GIL": ("task", "gil_holder"),
    "ignores SIGTERM": ("task", "sigterm_ignored"),
}


def one(server: RunningServer, mode: str, sin: str, folder: Path) -> tuple[float, float]:
    """Milliseconds from hang-up until the last process was gone, seen from outside and as the server says."""
    idle = set(descendants(server.pid))
    with Beacon(folder / "beacon") as beacon:
        if mode == "task":
            body = {"task": sin, "input": {"beacon": str(beacon.path)}}
        else:
            argv = [sys.executable, "-P", "-m", "tests.children", sin, "--beacon", str(beacon.path)]
            root = shlex.quote(str(Path(__file__).parents[1]))
            body = {"task": "shell", "input": {"command": f"PYTHONPATH={root} exec {shlex.join(argv)}"}}
        with EventStream(server.url, server.token, body=body) as stream:
            job_id = stream.until_type("job.queued").data["job_id"]
            runner_pid = stream.until_type("job.running").data["pid"]
            assert beacon.wait_in_place(20), f"{sin} is not in place"
            with Watched([runner_pid, *(pid for pid in descendants(runner_pid) if pid not in idle)]) as watched:
                hung_up = stream.hang_up()
                left = watched.wait_gone(hung_up + 5)
                assert beacon.wait_eof(hung_up + 5), "somebody still holds the beacon"
                seen_ms = (time.monotonic() - hung_up) * 1000
                assert not left, left
    job = server.wait_finished(job_id)
    assert job["state"] == "cancelled", job
    return seen_ms, job["cancellation"]["gone_ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    seen: dict[str, list[float]] = {}
    said: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="ds-") as folder,
        running_server(Path(folder) / "state", env={"DEADSTOP_TASKS": "tests.children.tasks"}) as server,
    ):
        for name, (mode, sin) in CASES.items():
            figures = []
            for number in range(rounds):
                place = Path(folder) / f"{name.replace(' ', '-')}-{number}"
                place.mkdir()
                figures.append(one(server, mode, sin, place))
            seen[name], said[name] = [list(column) for column in zip(*figures, strict=True)]
    rows = [(name, *report.summary(values), report.summary(said[name])[1]) for name, values in seen.items()]
    columns = ("job", "min ms", "median ms", "max ms", "server says (median)")
    report.table(f"hang-up to everything gone, {rounds} rounds each", columns, rows)
    report.save("hangup", {"rounds": rounds, "seen_ms": seen, "said_ms": said})
    plot(seen)
    median = report.summary(seen["polite task"])[1]
    verdict = "holds" if median <= CLAIM_MS else "FAILS"
    report.console.print(f"a polite job is gone within {CLAIM_MS} ms: {verdict} (median {median:.0f} ms)")


def plot(seen: dict[str, list[float]]) -> None:
    figure, axes = report.figure(8, 3.6)
    names = list(seen)
    for row, name in enumerate(names):
        axes.scatter(seen[name], [row] * len(seen[name]), s=16, alpha=0.55, color=report.GOOD, linewidths=0)
        axes.text(report.summary(seen[name])[1], row - 0.28, f"{report.summary(seen[name])[1]:.0f} ms", fontsize=8)
    axes.axvline(BUDGET_MS, color=report.BAD, linewidth=1)
    axes.text(BUDGET_MS * 0.96, -0.28, "budget 2 s", color=report.BAD, fontsize=8, ha="right")
    axes.set_xscale("log")
    axes.set_xticks(
        [5, 10, 20, 50, 100, 200, 500, 1000, 2000], ["5", "10", "20", "50", "100", "200", "500", "1 s", "2 s"]
    )
    axes.minorticks_off()
    axes.set_xlim(3, 2500)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds from hang-up until the last process is gone, seen from outside")
    axes.grid(axis="x", color=report.GRID, linewidth=0.6)
    report.draw(figure, "hangup")


if __name__ == "__main__":
    main()
