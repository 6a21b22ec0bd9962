"""Schemathesis against a real server: what run_fuzz.sh starts. Exit code 0: no bug, and every answer as described."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.server import RunningServer, running_server

HARMLESS = {
    # Whatever is made up may run, so only tasks that touch nothing are there.
    "DEADSTOP_TASKS_OFF": "shell,browse,agent",
    "DEADSTOP_MAX_RUNNING": "4",
}
NOT_ASKED = (
    "--exclude-path=/events",  # it never ends
    # A made-up task is no task of this server: the description cannot say which well-formed bodies are accepted.
    "--exclude-checks=positive_data_acceptance",
)
BUG_WORDS = ("Traceback", "owner_failed", "never retrieved")


def run_schemathesis(server: RunningServer, examples: int, seed: int) -> int:
    command = Path(sys.executable).with_name("schemathesis")
    arguments = [
        "run",
        f"{server.url}/openapi.json",
        f"--header=Authorization: Bearer {server.token}",
        f"--max-examples={examples}",
        "--request-timeout=10",
        "--continue-on-failure",
        "--no-color",
        f"--seed={seed}",
        *NOT_ASKED,
    ]
    return subprocess.run([command, *arguments], cwd=server.state_dir.parent, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=250, help="For each route and phase, at most.")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deadstop-fuzz-") as folder:
        with running_server(Path(folder) / "state", env=HARMLESS) as server:
            status = run_schemathesis(server, asked.examples, asked.seed)
            health = server.http.get("/health").json()
        bugs = [word for word in BUG_WORDS if word in server.stderr]
        if bugs:
            print(server.stderr, file=sys.stderr)
    print(f"afterwards the server is {health['status']}; its log has {', '.join(bugs) or 'no bug'}")
    return status or int(bool(bugs) or health["status"] == "down")


if __name__ == "__main__":
    sys.exit(main())
