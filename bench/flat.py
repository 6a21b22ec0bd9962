"""The resources that the server holds over 1,000 mixed kills: semaphores, descriptors, threads, zombies, cgroups.

    python -m bench.flat [--jobs 1200]

Jobs with daemons are cancelled, forced, hung up on, have their guardian killed or stopped, or leave daemons behind; one
in seven is done by itself. After every 50 the server is counted from outside. The claim: after all of them it holds
what it held at first.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from bench import report
from tests.support.census import WAYS, Census, end_many, settled
from tests.support.server import RunningServer, running_server

EVERY = 50
LABEL_HEIGHT = 3.6
AT_ONCE = 4
SHOWN = {
    "rss_mib": "MiB of memory (RSS)",
    "fds": "descriptors",
    "shm": "semaphores",
    "processes": "processes below it",
    "threads": "threads",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1200)
    jobs = parser.parse_args().jobs
    taken: list[tuple[int, Census]] = []
    with tempfile.TemporaryDirectory(prefix="ds-") as folder, running_server(Path(folder) / "state") as server:
        end_many(server, range(len(WAYS)), AT_ONCE)
        began = time.monotonic()
        for done in range(0, jobs + 1, EVERY):
            if done:
                end_many(server, range(done - EVERY, done), AT_ONCE)
            taken.append((done, _quiet(server, taken[0][1] if taken else None)))
        took_s = time.monotonic() - began
    kills = sum(list(WAYS)[number % len(WAYS)] != "is done" for number in range(jobs))
    first, last = taken[0][1], taken[-1][1]
    rows: list[tuple[object, ...]] = [(name, value, last.counts()[name]) for name, value in first.counts().items()]
    rows.append(("rss_mib", first.rss_mib, last.rss_mib))
    report.table(
        f"the server before and after {jobs} jobs, of which {kills} or their daemons were killed ({took_s:.0f} s)",
        ("it holds", "before", "after"),
        rows,
    )
    report.save(
        "flat",
        {
            "jobs": jobs,
            "kills": kills,
            "took_s": round(took_s, 1),
            "taken": [{"after": n, **asdict(c)} for n, c in taken],
        },
    )
    plot(taken)
    grown = _grown(first, last)
    report.console.print(f"flat: {'holds' if not grown else f'FAILS ({grown})'}")


def _quiet(server: RunningServer, first: Census | None) -> Census:
    """Once what has ended is put away; for as long as it takes, at most a few seconds."""
    if first is None:
        return settled(server, lambda now: now.zombies == now.workspaces == 0 and now.attempt_records == 1)
    return settled(server, lambda now: not _grown(first, now))


def _grown(first: Census, now: Census) -> list[str]:
    return [name for name, count in now.counts().items() if count > first.counts()[name]]


def plot(taken: list[tuple[int, Census]]) -> None:
    figure, axes = report.figure(8, 3.6)
    done = [number for number, _ in taken]
    labels: dict[float, list[str]] = {}
    for name, words in SHOWN.items():
        values = [getattr(census, name) for _, census in taken]
        axes.plot(done, values, linewidth=1.4, marker=".", markersize=4)
        labels.setdefault(values[-1], []).append(words)
    height = 0.0
    for value, words_there in sorted(labels.items()):
        height = max(value, height + LABEL_HEIGHT)
        axes.text(done[-1] * 1.01, height, ", ".join(words_there), fontsize=8, va="center")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, done[-1] * 1.27)
    axes.set_xticks([number for number, _ in taken[::4]])
    axes.set_xlabel(f"jobs that have ended, in {len(WAYS)} ways")
    axes.set_ylabel("held by the server")
    axes.grid(axis="y", color=report.GRID, linewidth=0.6)
    report.draw(figure, "flat")


if __name__ == "__main__":
    main()
