"""Secrets of the server's environment do not appear where a job, a client or another user could read them."""

from __future__ import annotations

import json
from pathlib import Path

import psutil

from tests.support.client import EventStream
from tests.support.server import RunningServer, running_server

SECRETS = {
    "DEADSTOP_TOKEN": "planted-main-token-4c1d",
    "OPENAI_API_KEY": "sk-planted-key-93ab",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-77e0",
    "DATABASE_URL": "postgres://u:planted-password-5f@db/x",
}
NAMED = "planted-named-token-8b2e"
ALLOWED = "planted-and-passed-on-61"

LOOK = "env; set; cat /proc/self/environ; cat /proc/$PPID/environ /proc/$PPID/cmdline; echo LOOKED; exec sleep 60"


def planted_in(text: str) -> set[str]:
    return {secret for secret in (*SECRETS.values(), NAMED) if secret in text}


def read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has ended in between


def processes_below(server: RunningServer) -> dict[str, str]:
    """Command line and initial environment of everything the server has started, by what it is."""
    children = psutil.Process(server.pid).children(recursive=True)
    return {
        f"{process.pid} {name}": read(Path(f"/proc/{process.pid}/{name}"))
        for process in children
        for name in ("cmdline", "environ")
    }


def test_no_secret_of_the_server_is_anywhere_but_in_it(tmp_path: Path) -> None:
    tokens = f"ci:submit+read:{NAMED}"
    env = SECRETS | {"DEADSTOP_TOKENS": tokens, "ALLOWED_ONE": ALLOWED, "DEADSTOP_PASS_ENV": "ALLOWED_ONE"}
    with running_server(tmp_path / "state", env=env) as server:
        body = {"task": "shell", "input": {"command": LOOK, "terminal": False}}
        with EventStream(server.url, NAMED, body=body) as stream:
            stream.until_output("LOOKED")
            below = processes_below(server)
            job_id = stream.events[0].data["job_id"]
            shown = server.http.get(f"/jobs/{job_id}").text + server.http.get(f"/jobs/{job_id}/processes").text
            server.http.post(f"/jobs/{job_id}/cancel", json={"force": True})
            list(stream.rest(10))
        events = json.dumps([event.data for event in stream.events])
        own_cmdline = read(Path(f"/proc/{server.pid}/cmdline"))
        own_environ = read(Path(f"/proc/{server.pid}/environ"))
        refused = server.http.get("/jobs", headers={"Authorization": f"Bearer {SECRETS['DEADSTOP_TOKEN']}x"})
        assert refused.status_code == 401
        shown += refused.text + server.http.get("/health").text + server.http.get("/openapi.json").text

    # The control: the secrets are found where the test put them, and allowed variables reach the job.
    assert planted_in(own_environ) == {*SECRETS.values(), NAMED}
    assert ALLOWED in events
    assert sum(ALLOWED in text for text in below.values()) >= 3, below.keys()

    assert planted_in(events) == set()
    assert planted_in(shown) == set()
    assert {name: found for name, text in below.items() if (found := planted_in(text))} == {}
    assert planted_in(own_cmdline) == set()
    assert planted_in(server.stderr) == set()
    kept = {path: read(path) for path in server.state_dir.rglob("*") if path.is_file()}
    assert {path.name: found for path, text in kept.items() if (found := planted_in(text))} == {}
