"""Schemathesis against a real server: what run_fuzz.sh starts. Exit code 0: no bug, and every answer as described."""

from __future__ import annotations

import argparse
import json
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


def run_schemathesis(server: RunningServer, examples: int, seed: int) -> int:
    folder = server.state_dir.parent
    (folder / "openapi.json").write_text(json.dumps(description(server)))
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        str(folder / "openapi.json"),
        f"--url={server.url}",
        f"--header=Authorization: Bearer {server.token}",
        f"--max-examples={examples}",
        f"--seed={seed}",
    ]
    return subprocess.run(command, cwd=folder, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=250, help="For each route and phase, at most.")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deadstop-fuzz-") as folder:
        with running_server(Path(folder) / "state", env=SETTINGS) as server:
            status = run_schemathesis(server, asked.examples, asked.seed)
            health = server.http.get("/health").json()
        bugs = [word for word in BUG_WORDS if word in server.stderr]
        if bugs:
            print(server.stderr, file=sys.stderr)
    print(f"afterwards the server is {health['status']} and had {sum(health['counts'].values())} jobs; ", end="")
    print(f"its log has {', '.join(bugs) or 'no bug'}")
    return status or int(bool(bugs) or health["status"] == "down")


if __name__ == "__main__":
    sys.exit(main())
