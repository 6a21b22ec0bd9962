"""The cost of a job before its first line runs, and of an idle worker.

    python -m bench.start [--rounds 30]

Time from submit to `job.running` with idle workers and without, side by side in one run; memory of the idle processes
as PSS, which counts pages shared by forking once; and the time of the probes at the start of the server.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import psutil

from bench import report
from tests.support.client import EventStream
from tests.support.server import RunningServer, running_server

STARTS = 8

Pairs = list[tuple[float, float]]
"""With warm sets, and without."""
Probes = list[dict[str, float]]
Memory = dict[int, tuple[float, float]]
"""By the number of warm sets."""


def latency_ms(server: RunningServer) -> float:
    began = time.monotonic()
    with EventStream(server.url, server.token, body={"task": "shell", "input": {"command": "true"}}) as stream:
        job_id = stream.until_type("job.queued").data["job_id"]
        stream.until_type("job.running")
        took_ms = (time.monotonic() - began) * 1000
        for _ in stream.rest():
            pass
    server.wait_finished(job_id)
    return took_ms


def probes_ms(server: RunningServer) -> dict[str, float]:
    """How long each level of containment took to try, as the server has logged it."""
    (line,) = [line for line in server.stderr.splitlines() if '"event": "containment"' in line]
    took: dict[str, float] = json.loads(line)["probes_ms"]
    return took


def pss_mib(processes: list[psutil.Process]) -> float:
    return sum(process.memory_full_info().pss for process in processes) / 2**20


def idle_memory(warm: int, folder: Path) -> tuple[float, float]:
    """PSS in MiB: the server process itself, and all its children."""
    with running_server(folder / f"memory-{warm}", "--warm", str(warm)) as server:
        deadline = time.monotonic() + 10
        while f"{warm} sets ready" not in server.http.get("/health").text and time.monotonic() < deadline:
            time.sleep(0.05)
        root = psutil.Process(server.pid)
        return pss_mib([root]), pss_mib(root.children(recursive=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    figures, probes, memory = measure(rounds)
    show(figures, probes, memory)
    warm_ms, cold_ms = [list(column) for column in zip(*figures, strict=True)]
    report.save(
        "start",
        {
            "rounds": rounds,
            "warm_ms": warm_ms,
            "cold_ms": cold_ms,
            "pss_mib": memory,
            "set_mib": per_set_mib(memory),
            "probes_ms": probes,
        },
    )
    plot(warm_ms, cold_ms)


def measure(rounds: int) -> tuple[Pairs, Probes, Memory]:
    with tempfile.TemporaryDirectory(prefix="ds-") as name:
        folder = Path(name)
        with (
            running_server(folder / "warm", "--warm", "2") as warm,
            running_server(folder / "cold", "--warm", "0") as cold,
        ):
            figures = [(latency_ms(warm), latency_ms(cold)) for _ in range(rounds)]
            probes = [probes_ms(warm), probes_ms(cold)]
        memory = {warm_sets: idle_memory(warm_sets, folder) for warm_sets in (0, 2, 10)}
        for number in range(STARTS):
            with running_server(folder / f"start-{number}") as server:
                probes.append(probes_ms(server))
    return figures, probes, memory


def per_set_mib(memory: Memory) -> float:
    return (memory[10][1] - memory[2][1]) / 8


def show(figures: Pairs, probes: Probes, memory: Memory) -> None:
    warm_ms, cold_ms = [list(column) for column in zip(*figures, strict=True)]
    ratio = [cold / warm for warm, cold in figures]
    rows = [
        ("WARM=2", *report.summary(warm_ms)),
        ("WARM=0", *report.summary(cold_ms)),
        ("ratio", *report.summary(ratio)),
    ]
    report.table(f"submit to job.running, {len(figures)} pairs", ("", "min ms", "median ms", "max ms"), rows)
    report.table(
        f"idle memory (PSS); a warm set costs {per_set_mib(memory):.1f} MiB",
        ("warm sets", "server MiB", "children MiB"),
        [(count, *mib) for count, mib in memory.items()],
    )
    report.table(
        f"trying each level of containment, at {len(probes)} starts",
        ("level", "min ms", "median ms", "max ms"),
        [(level, *report.summary([one[level] for one in probes])) for level in probes[0]],
    )


def plot(warm_ms: list[float], cold_ms: list[float]) -> None:
    figure, axes = report.figure(8, 2)
    for row, (title, values) in enumerate((("WARM=2", warm_ms), ("WARM=0", cold_ms))):
        axes.scatter(values, [row] * len(values), s=18, alpha=0.5, color=report.GOOD, linewidths=0, label=title)
        axes.text(report.summary(values)[1], row - 0.25, f"median {report.summary(values)[1]:.0f} ms", fontsize=8)
    axes.set_yticks([0, 1], ["WARM=2", "WARM=0"])
    axes.set_ylim(1.5, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds from submit to job.running, seen by the client")
    axes.grid(axis="x", color=report.GRID, linewidth=0.6)
    report.draw(figure, "start")


if __name__ == "__main__":
    main()
