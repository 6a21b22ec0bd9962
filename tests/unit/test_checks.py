"""What strangers read of a check: why, and no path."""

from __future__ import annotations

import pytest

from supervisor.core.checks import _failing


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
