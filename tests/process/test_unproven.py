"""Processes that cannot be ended: survivors are named, the job stays `cancelling`, and the proof comes when it can.

No signal ends two kinds of process: one that a debugger holds after its death, which any user can make, and one in
uninterruptible sleep, which needs a freezer of cgroup version 1 where the disk is not broken.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.jobs.event_log import Event
from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.engine.containment import Level, Proof
from supervisor.guardian.proc import read_stat
from supervisor.node.cleanup.kill_round import Round, SweepTarget
from tests.support.attempts import guardian_pid, node_of, root_pid
from tests.support.core import cancel, ended, reaches, running, says, scenario, submit, types, until
from tests.support.level_cases import LEVELS
from tests.support.levels import DEFAULT_LEVEL, DEFAULT_PROOF
from tests.support.trees import DAEMONS, TREE, a_tree, alive, frozen, held, named, there, why_no_freezer

BUDGET_S = 0.5
DAEMON = "(setsid sleep 60 &) ; echo READY; cat"


def fields(record: LiveJob, type_: str) -> dict[str, object]:
    (found,) = [item for item in record.log.read(0, limit=100_000) if isinstance(item, Event) and item.type == type_]
    return dict(json.loads(found.data))


async def daemon(record: LiveJob) -> int:
    """Wait until the job's process has become a daemon, and return its PID."""
    await says(record, "READY")
    await until(lambda: len(named(record, "sleep")) == 1)
    return named(record, "sleep")[0]


needs_freezer = pytest.mark.skipif(why_no_freezer() is not None, reason=str(why_no_freezer()))
WAYS = [
    pytest.param(held, "zombie", id="held"),
    pytest.param(frozen, "disk-sleep", id="uninterruptible", marks=needs_freezer),
]


def at_levels() -> Iterator[Any]:
    """The server's default level. The other levels are in the suite."""
    for level in LEVELS:
        own = level.values[0] is DEFAULT_LEVEL
        yield level if own else pytest.param(*level.values, marks=[*level.marks, pytest.mark.suite])


@pytest.mark.parametrize("level", list(at_levels()))
@pytest.mark.parametrize(("hold", "status"), WAYS)
def test_survivors_are_named_and_the_proof_comes_with_their_end(
    tmp_path: Path, hold: Callable[[int], AbstractContextManager[None]], status: str, level: Level
) -> None:
    async def body() -> None:
        async with running(tmp_path, containment=level) as supervisor:
            record = submit(supervisor, "shell", command=TREE)
            await says(record, "READY")
            await until(lambda: len(named(record, "sleep")) == DAEMONS)
            tree = a_tree(record)
            stuck = named(record, "sleep")[0]
            with hold(stuck):
                cancel(supervisor, record, budget_s=BUDGET_S)
                await reaches(record, lambda job: job.cancellation is not None and bool(job.cancellation.survivors))
                assert record.job.state is State.CANCELLING
                assert [s.pid for s in record.job.cancellation.survivors if record.job.cancellation] == [stuck]  # type: ignore[union-attr]
                assert fields(record, "cancel.unproven")["survivors"] == [
                    {"pid": stuck, "name": "sleep", "status": status}
                ]
                # What can be killed is, survivor or not; a namespace's init has been, and waits for the stuck one.
                init = root_pid(record) if level is Level.PIDNS else None
                assert {pid for pid, _ in alive(tree)} <= {stuck, init}
                other = submit(supervisor, "shell", command="true")
                assert (await ended(other)).job.state is State.SUCCEEDED
                assert record.job.state is State.CANCELLING
            await ended(record, 1.0)
            assert there(tree) == set()
            ended_with = [name for name in types(record) if name not in {"job.resource", "job.stuck"}][-3:]
            assert ended_with == ["cancel.unproven", "cancel.verified", "job.cancelled"]
            cancellation = record.job.cancellation
            assert cancellation is not None
            assert (cancellation.proof, cancellation.survivors) == (Proof.ADOPTED_REAPED, ())
            assert cancellation.within_budget is False

    scenario(body)


def ticks_since(pid: int) -> float:
    """Return how long ago the process started, in clock ticks, the unit of start times."""
    stat = read_stat(pid)
    assert stat is not None
    return time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK") - stat.start_ticks


def test_an_orphan_counts_against_every_dead_guardian_that_is_not_younger(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, warm=0) as supervisor:
            older = submit(supervisor, "shell", command=DAEMON)
            early = await daemon(older)
            await until(lambda: ticks_since(early) > 1)  # what starts now is younger, as far as the kernel tells
            younger = submit(supervisor, "shell", command=DAEMON)
            late = await daemon(younger)
            trees = a_tree(older) | a_tree(younger)
            guardians = [guardian_pid(record) for record in (older, younger)]
            born = [stat.start_ticks for pid in (early, guardians[1]) if (stat := read_stat(pid)) is not None]
            assert born[0] < born[1]
            with held(early):
                with held(late):
                    for pid in guardians:
                        os.kill(pid, signal.SIGKILL)
                    await until(lambda: alive(trees) == set(), 2)
                    await until(lambda: len(there(trees)) == 2, 2)
                    for record in (older, younger):
                        cancel(supervisor, record, budget_s=BUDGET_S)
                        await reaches(record, lambda job: bool(job.cancellation and job.cancellation.survivors))
                    # The late orphan could belong to either job; the early one is older than one of the guardians.
                    found = [{s.pid for s in record.job.cancellation.survivors} for record in (older, younger)]  # type: ignore[union-attr]
                    assert found == [{early, late}, {late}]
                await ended(younger, 1.0)
                assert older.job.state is State.CANCELLING
            await ended(older, 1.0)
            assert there(trees) == set()

    scenario(body)


def test_a_sweep_without_a_cancel_continues_at_a_slow_rate(tmp_path: Path) -> None:
    """A guardian died, and its leftover process cannot be killed. The sweep goes on, but must not use a whole core."""

    async def body() -> None:
        async with running(tmp_path, cancel_budget_s=BUDGET_S) as supervisor:
            record = submit(supervisor, "shell", command=DAEMON)
            stuck = await daemon(record)
            with held(stuck):
                rounds: list[float] = []
                count = node_of(supervisor).services.backstop.kill_once

                def counted(attempts: Sequence[SweepTarget]) -> list[Round]:
                    rounds.append(time.monotonic())
                    return count(attempts)

                node_of(supervisor).services.backstop.kill_once = counted  # type: ignore[method-assign]
                os.kill(guardian_pid(record), signal.SIGKILL)
                # The first pauses are short; from the budget on they are not.
                await until(lambda: bool(rounds) and time.monotonic() > rounds[0] + BUDGET_S + 0.2)
                begun = len(rounds)
                await until(lambda: len(rounds) >= begun + 3, 3)
                assert rounds[-1] - rounds[begun] > 0.15
                assert record.job.state is State.RUNNING
            await ended(record, 1.0)
            assert record.job.error is not None
            assert record.job.error.kind == "guardian"

    scenario(body)


def test_a_debugged_job_is_the_control(tmp_path: Path) -> None:
    """The process is traced and released in time: the same steps end with a proof."""

    async def body() -> None:
        async with running(tmp_path) as supervisor:
            record = submit(supervisor, "shell", command=TREE)
            await says(record, "READY")
            await until(lambda: len(named(record, "sleep")) == DAEMONS)
            with held(named(record, "sleep")[0]):
                pass
            cancel(supervisor, record)
            await ended(record, 3)
            assert record.job.cancellation is not None
            assert record.job.cancellation.proof == DEFAULT_PROOF
            assert "cancel.unproven" not in types(record)

    scenario(body)
