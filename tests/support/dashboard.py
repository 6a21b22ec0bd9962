"""The browser in which tests open the dashboard, and the requests that they send to its server directly."""

from __future__ import annotations

import shutil

import pytest

from tests.support.server import RunningServer

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


def submit(server: RunningServer, task: str, **values: object) -> str:
    answer = server.http.post("/jobs", json={"task": task, "input": values})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])
