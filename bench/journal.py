"""The cost of the journal: the latency of the API while jobs log 10,000 lines a second, and how many are kept.

    python -m bench.journal [--seconds 8] [--rate 10000]

A prober asks one question after the other, first of an idle server and then beside the jobs: `GET /livez` (nothing but
the event loop), `POST /jobs` of a job that never starts (a row on the disk), and the cancel of it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import report
from tests.support.server import RunningServer, running_server

JOBS = 4
TASKS = '''
import time
from runner import Context, task

@task
def talk(ctx: Context, rate: int, seconds: float) -> int:
    """Say `rate` things a second."""
    began, said = time.monotonic(), 0
    while (now := time.monotonic() - began) < seconds:
        while said < now * rate:
            ctx.log(f"line {said} of many that a chatty task writes down")
            said += 1
        time.sleep(0.005)
    return said

@task
def idle(ctx: Context) -> None:
    """Never runs here: it is cancelled first."""
'''


def probe(server: RunningServer, seconds: float, name: str) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {"GET /livez": [], "POST /jobs": [], "cancel": []}

    def ask(what: str, method: str, path: str, body: Any = None) -> None:
        began = time.monotonic()
        answer = server.http.request(method, path, json=body)
        taken[what].append((time.monotonic() - began) * 1000)
        assert answer.status_code < 300, answer.text

    deadline, number = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        number += 1
        job_id = f"{name}-{number}"
        ask("GET /livez", "GET", "/livez")
        ask("POST /jobs", "POST", "/jobs", {"task": "idle", "input": {}, "id": job_id})
        ask("cancel", "POST", f"/jobs/{job_id}/cancel", {})
    return taken


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rate", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ds-") as name:
        folder = Path(name)
        (folder / "chatty_tasks.py").write_text(TASKS, encoding="utf-8")
        env = {"DEADSTOP_TASKS": "chatty_tasks", "PYTHONPATH": f"{Path(__file__).parents[1]}:{folder}"}
        with running_server(folder / "state", "--max-running", str(JOBS), env=env) as server:
            server.http.post("/jobs", json={"task": "idle", "input": {}, "id": "first"}).raise_for_status()
            server.wait_finished("first")
            idle = probe(server, asked.seconds / 2, "idle")
            body = {"rate": asked.rate // JOBS, "seconds": asked.seconds}
            for number in range(JOBS):
                server.http.post("/jobs", json={"task": "talk", "input": body, "id": f"talk-{number}"})
            busy = probe(server, asked.seconds, "busy")
            said, kept = 0, 0
            for number in range(JOBS):
                job = server.wait_finished(f"talk-{number}")
                said += int(job["result"])
                kept += int(job["last_event_id"])
            size = (folder / "state" / "journal.sqlite3").stat().st_size
    rows = [
        (f"{what}, {when}", *(percentile(taken[what], share) for share in (0.5, 0.99, 1.0)), len(taken[what]))
        for what in idle
        for when, taken in (("idle", idle), ("beside the jobs", busy))
    ]
    report.table(
        f"{JOBS} jobs said {said / asked.seconds:,.0f} things a second, {kept} events were kept; the file has "
        f"{size / 2**20:.0f} MiB",
        ("", "median ms", "99 % ms", "max ms", "asked"),
        rows,
    )
    report.save(
        "journal",
        {"said_a_second": said / asked.seconds, "said": said, "kept": kept, "file_bytes": size, "rows": rows},
    )


if __name__ == "__main__":
    main()
