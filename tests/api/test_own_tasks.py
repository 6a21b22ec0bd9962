"""Tasks of one's own: the documented example as a user serves it, beside modules that cannot be imported."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import PATIENCE_S, environment, on_terminal, words
from tests.support.server import ROOT, RunningServer, running_server

BROKEN = {
    "no_licence": "def check():\n    raise RuntimeError('no licence')\n\ncheck()\n",
    "not_python": "def x(:\n",
    "leaves": "import sys\nsys.exit(3)\n",
    "vanishes": "import os\nos._exit(3)\n",
    "has_none": "def forgot_to_mark(ctx): ...\n",
}
BORROWS = """
from mytasks import word_count
from runner import task

@task
def borrower(ctx):
    return word_count(ctx, "a b")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("own")
    for name, text in BROKEN.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    (folder / "borrows.py").write_text(BORROWS, encoding="utf-8")
    env = {"PYTHONPATH": f"{ROOT}:{folder}"}
    tasks = ",".join(["mytasks", "not_there", "borrows", *BROKEN])
    with running_server(folder / "state", "--tasks", tasks, env=env, cwd=ROOT / "examples") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with 40 files."""
    for number in range(40):
        (tmp_path / f"{number:02}.txt").write_text(f"file {number}\n", encoding="utf-8")
    return tmp_path


def run(server: RunningServer, task: str, **values: Any) -> dict[str, Any]:
    answer = server.http.post("/jobs", json={"task": task, "input": values})
    assert answer.status_code == 202, answer.text
    return server.wait_finished(answer.json()["id"], 15)


def download(server: RunningServer, job: dict[str, Any], name: str) -> bytes:
    answer = server.http.get(f"/jobs/{job['id']}/files/{name}")
    assert answer.status_code == 200, answer.text
    return answer.content


def test_a_sync_task(server: RunningServer) -> None:
    job = run(server, "word_count", text="To be, or not to be", top=2)
    assert job["result"] == {"words": 6, "most_common": {"to": 2, "be": 2}}, job


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/here" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing to stderr."""


def test_an_async_task(server: RunningServer) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            here, gone = (f"http://127.0.0.1:{web.server_port}/{name}" for name in ("here", "gone"))
            job = run(server, "check_links", urls=[here, gone, "http://127.0.0.1:9/"])
        finally:
            web.shutdown()
            thread.join()
    assert job["state"] == "succeeded", job
    assert (job["result"][here], job["result"][gone]) == ("200 OK", "404 Not Found")
    assert job["result"]["http://127.0.0.1:9/"].startswith("ConnectError")


def test_a_task_that_shells_out(server: RunningServer, folder: Path) -> None:
    job = run(server, "archive", folder=str(folder))
    assert job["state"] == "succeeded", job
    with tarfile.open(fileobj=io.BytesIO(download(server, job, "archive.tar.gz"))) as packed:
        assert "./07.txt" in packed.getnames()
    failed = run(server, "archive", folder=str(folder / "nowhere"))
    assert (failed["error"]["kind"], failed["error"]["exit_code"]) == ("exited", 2)
    assert server.http.get(f"/jobs/{failed['id']}/files").json()["files"] == []


def test_a_task_with_progress(server: RunningServer, folder: Path) -> None:
    job = run(server, "checksums", folder=str(folder))
    assert job["result"] == {"file": "SHA256SUMS", "files": 40}, job
    digest = hashlib.sha256(b"file 7\n").hexdigest()
    assert f"{digest}  07.txt\n" in download(server, job, "SHA256SUMS").decode()
    events = server.http.get(f"/jobs/{job['id']}/events", params={"follow": "false"}).json()["events"]
    told = [event for event in events if event["type"] == "job.progress"]
    assert (told[-1]["done"], told[-1]["total"], told[-1]["message"]) == (40, 40, "39.txt")


@pytest.mark.parametrize(
    ("task", "values", "field"),
    [
        ("word_count", {"text": 3}, "input.text"),
        ("word_count", {"text": "a", "top": "5"}, "input.top"),
        ("word_count", {"text": "a", "top": 0}, "input.top"),
        ("word_count", {}, "input.text"),
        ("word_count", {"text": "a", "words": 1}, "input.words"),
        ("check_links", {"urls": ["http://127.0.0.1/", "ftp://x"]}, "input.urls.1"),
        ("archive", {"folder": "relative"}, "input.folder"),
    ],
)
def test_a_mistake_in_the_input_is_named(server: RunningServer, task: str, values: dict[str, Any], field: str) -> None:
    answer = server.http.post("/jobs", json={"task": task, "input": values})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_modules_that_cannot_be_imported_are_reported_with_their_tracebacks(server: RunningServer) -> None:
    report = server.http.get("/health").json()
    assert report["status"] == "degraded"  # and not down: the other tasks run
    assert report["checks"]["selftest"]["ok"]
    assert server.http.get("/readyz").status_code == 200
    check = report["checks"]["tasks"]
    assert not check["ok"]
    for told in (check["detail"], server.stderr):
        assert "RuntimeError: no licence" in told
        assert "SystemExit: 3" in told
        assert "No module named 'not_there'" in told
        assert "its import ended the process" in told
        assert "it has no tasks: mark its functions with @task" in told
        assert "borrows" not in told
    assert set(check["tracebacks"]) == {"no_licence", "not_python", "leaves", "not_there"}
    lines = check["tracebacks"]["no_licence"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert 'no_licence.py", line 4' in lines[1]  # their own first line, not the way there
    assert lines[-1] == "RuntimeError: no licence"
    assert "def x(:" in check["tracebacks"]["not_python"]
    logged = [json.loads(line) for line in server.stderr.splitlines() if "task_module_broken" in line]
    assert {entry["module"]: entry["traceback"] for entry in logged} == {
        **check["tracebacks"],
        "vanishes": None,
        "has_none": None,
    }
    assert "tracebacks" not in server.http.get("/readyz", params={"verbose": ""}).text


def test_a_module_may_import_the_tasks_of_another(server: RunningServer) -> None:
    assert run(server, "borrower")["result"]["words"] == 2
    assert run(server, "word_count", text="a")["result"]["words"] == 1


def test_progress_on_the_command_line(server: RunningServer, folder: Path) -> None:
    env = environment(server.state_dir)
    wish = json.dumps({"folder": str(folder)})
    plain = subprocess.run(
        words("run", "checksums", "--input", wish),
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert "deadstop: progress 40/40 39.txt" in plain.stderr
    with on_terminal("run", "demo", "--input", '{"seconds": 1.5, "steps": 3}', env=env) as terminal:
        terminal.read_until("1/3 step 1")
        bar = terminal.screen[: terminal.screen.index("1/3 step 1")].rsplit("\n", 1)[-1]
        assert "━" in bar
        assert terminal.read_to_end() == 0
