"""The public form of a check: whether it holds and why, without any path."""

from __future__ import annotations

import pytest

from supervisor.api.schemas.answers import readiness_json
from supervisor.engine.inspection import Check
from supervisor.node.checks import _failing


@pytest.mark.parametrize(
    ("detail", "public"),
    [
        ("no folder ('/home/a b/tmp': No such file)", "no folder ((a path): No such file)"),
        ("cannot use cgroup /sys/fs/cgroup/deadstop-1/attempt-2: EPERM", "cannot use cgroup (a path): EPERM"),
        (
            "FileNotFoundError: [Errno 2] No such file: '/var/x'",
            "FileNotFoundError: [Errno 2] No such file: (a path)",
        ),
        ("no worker since 2026-01-01T00:00:00Z (tried 3 times): 1/2", None),
    ],
)
def test_paths_are_left_out(detail: str, public: str | None) -> None:
    check = _failing(detail)
    assert (check.ok, check.detail) == (False, detail)
    assert check.for_strangers().detail == (detail if public is None else public)


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (Check(False, "mine.py: No module named x", tracebacks={"mine": "File /home/me/mine.py"}), "does not hold"),
        (Check(True, "/srv/state is writable"), "ok"),
        (Check(True, "/srv/state is writable", public="writable"), "writable"),
        (Check(False, "/srv/state is full", public="STATE_DIR cannot be written"), "STATE_DIR cannot be written"),
    ],
)
def test_a_stranger_reads_whether_and_not_where(check: Check, told: str) -> None:
    answer = readiness_json(ready=check.ok, checks={"x": check.for_strangers()})["checks"]["x"]
    assert answer["detail"].startswith(told)
    assert answer["ok"] is check.ok
    assert "/srv" not in str(answer)
    assert "mine" not in str(answer)
