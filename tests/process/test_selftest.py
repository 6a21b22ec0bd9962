"""Readiness depends on a worker that was recently started and killed, with a child that had left its session."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.config import load_settings
from supervisor.guardian.handle import Handle
from supervisor.guardian.proc import read_stat
from supervisor.node import self_test as selftest
from supervisor.server import supervisor_of
from tests.support.core import running, scenario, until


def test_it_starts_a_child_in_its_own_session_and_kills_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[int], list[int]]] = []
    judge = selftest.SelfTest._judge

    def watched(self: selftest.SelfTest, escaped: list[int], alive: list[int], gone_ms: float) -> None:
        seen.append((escaped, [pid for pid in escaped if read_stat(pid) is not None]))
        judge(self, escaped, alive, gone_ms)

    monkeypatch.setattr(selftest.SelfTest, "_judge", watched)

    async def body() -> None:
        async with running(tmp_path) as supervisor:
            assert "with a child that had left, gone after" in supervisor.checks()["selftest"].detail
            assert [(len(escaped), alive) for escaped, alive in seen] == [(1, [])] * len(seen)
            assert seen

    scenario(body)


def test_control_a_process_reported_gone_that_lives_makes_the_server_unready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handle, "ended", property(lambda _: False))

    async def body() -> None:
        async with supervisor_of(load_settings(state_dir=tmp_path)) as supervisor:
            await until(lambda: "live" in supervisor.checks()["selftest"].detail)
            check = supervisor.checks()["selftest"]
            assert (check.ok, check.required) == (False, True)

    scenario(body)


def test_a_self_test_of_long_ago_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            monkeypatch.setattr(selftest, "LATELY_S", 0.0)
            assert not supervisor.checks()["selftest"].ok

    scenario(body)
