"""Schemathesis against a real server: what scripts/fuzz starts. Exit code 0: no bug, and every answer as described."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.server import RunningServer, running_server

HERE = Path(__file__).parent
BUDGET_S = 2.0
SETTINGS = {
    # Whatever is made up may run, so only tasks that touch nothing are there.
    "DEADSTOP_TASKS_OFF": "shell,browse,agent,demo",
    "DEADSTOP_TASKS": "tests.fuzz.tasks",
    "DEADSTOP_MAX_RUNNING": "4",
    "DEADSTOP_CANCEL_BUDGET_S": str(BUDGET_S),
}
DESCRIBED_BOUND_S = 20.0
SEQUENCES_S = 30
"""Schemathesis goes on with sequences for so long; without a time it stops at the first answer that depends on time."""
BUG_WORDS = ("Traceback", "owner_failed", "never retrieved")


def description(server: RunningServer) -> dict[str, Any]:
    """/openapi.json, with what it cannot know: this server's tasks and settings. Otherwise few jobs would begin."""
    deadline = time.monotonic() + DESCRIBED_BOUND_S
    while (answer := server.http.get("/tasks")).status_code == 503 or not answer.json()["tasks"]:
        assert time.monotonic() < deadline, answer.text
    document: dict[str, Any] = server.http.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    # Optional fields are described as this or null.
    schemas["CancelBody"]["properties"]["budget_s"]["anyOf"][0]["maximum"] = BUDGET_S
    create = schemas["CreateBody"]
    level = server.http.get("/health").json()["containment"]["level"]
    create["properties"]["containment"]["anyOf"][0]["enum"] = ["auto", level]
    create["oneOf"] = [
        {"properties": {"task": {"const": task["name"]}, "input": task["input_schema"]}}
        for task in answer.json()["tasks"]
    ]
    return document


class Fuzz:
    """Runs of Schemathesis against one server."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._folder = server.state_dir.parent
        self.cases = 0
        self.passed = True
        (self._folder / "openapi.json").write_text(json.dumps(description(server)))

    def run(self, *arguments: str) -> None:
        report = self._folder / "report.json"
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={HERE / 'schemathesis.toml'}",
            "run",
            str(self._folder / "openapi.json"),
            f"--url={self._server.url}",
            f"--header=Authorization: Bearer {self._server.token}",
            f"--report-json-path={report}",
            *arguments,
        ]
        self.passed &= subprocess.run(command, cwd=self._folder, check=False).returncode == 0
        self.cases += json.loads(report.read_text())["test_cases"]["generated"]


def finished_jobs(server: RunningServer) -> int:
    counts = re.findall(r"^deadstop_jobs_finished_total\{.*\} (\S+)$", server.http.get("/metrics").text, re.MULTILINE)
    return int(sum(map(float, counts)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=8000, help="At least so many requests (default: 8000).")
    parser.add_argument("--seed", type=int, default=1, help="Another seed chooses other requests.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deadstop-fuzz-") as folder:
        with running_server(Path(folder) / "state", env=SETTINGS) as server:
            fuzz = Fuzz(server)
            examples = min(250, max(1, asked.cases // 30))
            fuzz.run("--phases=coverage,fuzzing", f"--max-examples={examples}", f"--seed={asked.seed}")
            alone, seed = fuzz.cases, asked.seed
            while fuzz.passed and (seed == asked.seed or fuzz.cases < asked.cases):
                fuzz.run("--phases=stateful", f"--max-time={SEQUENCES_S}", f"--seed={seed}")
                seed += 1
            jobs, health = finished_jobs(server), server.http.get("/health").json()
        bugs = [word for word in BUG_WORDS if word in server.stderr]
        if bugs:
            print(server.stderr, file=sys.stderr)
    print(f"{fuzz.cases} requests, {fuzz.cases - alone} of them in sequences; {jobs} jobs ran; ", end="")
    print(f"the server is {health['status']}, its log has {', '.join(bugs) or 'no bug'}")
    return int(not fuzz.passed or bool(bugs) or health["status"] == "down")


if __name__ == "__main__":
    sys.exit(main())
