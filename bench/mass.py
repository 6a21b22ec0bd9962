"""Fifty and a hundred jobs that ignore SIGTERM, each with a tree of four, all hung up on in one moment.

    python -m bench.mass [--rounds 3]

A real server, a real socket for each job. A pipe that every process of every job inherits tells from outside when the
last one is gone. The claim: all of them are proven gone within the budget of 2 s.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench import report
from tests.support.mass import TREE, MassCancel, hang_up_on_many
from tests.support.server import running_server

COUNTS = (50, 100)
BUDGET_MS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    found: dict[int, list[MassCancel]] = {}
    with tempfile.TemporaryDirectory(prefix="ds-") as name:
        folder = Path(name)
        with running_server(folder / "state", "--max-running", str(max(COUNTS))) as server:
            level = server.http.get("/health").json()["containment"]["level"]
            for count in COUNTS:
                found[count] = []
                for number in range(rounds):
                    place = folder / f"{count}-{number}"
                    place.mkdir()
                    found[count].append(hang_up_on_many(server, count, place))
    rows = [
        (
            f"{count} jobs, {count * TREE} processes",
            *report.summary([ms for one in ended for ms in one.gone_ms]),
            max(one.gone_s for one in ended) * 1000,
            f"{sum(one.within_budget for one in ended)} of {rounds * count}",
        )
        for count, ended in found.items()
    ]
    columns = ("", "min ms", "median ms", "max ms", "last one gone, from outside", "proven in time")
    report.table(f"hung up on at once, {rounds} rounds each, level {level}", columns, rows)
    figures = {
        str(count): [{"gone_ms": one.gone_ms, "outside_ms": one.gone_s * 1000} for one in ended]
        for count, ended in found.items()
    }
    report.save("mass", {"rounds": rounds, "level": level, "jobs": figures})
    plot(found)
    late = sum(count - one.within_budget for count, ended in found.items() for one in ended)
    left = [one.left for ended in found.values() for one in ended if one.left]
    verdict = "holds" if not late and not left else f"FAILS ({late} late, left: {left})"
    report.console.print(f"all of them proven gone within {BUDGET_MS} ms: {verdict}")


def plot(found: dict[int, list[MassCancel]]) -> None:
    figure, axes = report.figure(8, 2.8)
    for count, color in zip(found, (report.GOOD, report.WARN), strict=True):
        for number, one in enumerate(found[count]):
            label = f"{count} jobs, {count * TREE} processes" if number == 0 else None
            share = [(place + 1) / count * 100 for place in range(count)]
            axes.step(sorted(one.gone_ms), share, where="post", color=color, linewidth=1.2, label=label)
    axes.axvline(BUDGET_MS, color=report.BAD, linewidth=1)
    axes.text(BUDGET_MS * 0.99, 4, "budget 2 s", color=report.BAD, fontsize=8, ha="right")
    axes.set_xlim(0, BUDGET_MS * 1.05)
    axes.set_ylim(0, 102)
    axes.set_xlabel("milliseconds from the hang-up until a job is proven gone")
    axes.set_ylabel("% of the jobs")
    axes.grid(color=report.GRID, linewidth=0.6)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    report.draw(figure, "mass")


if __name__ == "__main__":
    main()
