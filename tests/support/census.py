"""Resources that a server holds, counted from outside, and jobs that end in every possible way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tests.support.leaks import semaphores_of
from tests.support.levels import leaves
from tests.support.observer import descendants
from tests.support.server import RunningServer
from tests.support.sins import guardian_of

READY_BOUND_S = 20.0
END_BOUND_S = 20.0
DAEMONS = "(setsid sleep 60 &); setsid sleep 60 & "


@dataclass(frozen=True, slots=True)
class Census:
    """The counts at one moment. `shm` counts the named semaphores that the server or a descendant has mapped."""

    shm: int
    fds: int
    threads: int
    processes: int
    zombies: int
    cgroup_leaves: int
    workspaces: int
    attempt_records: int
    rss_mib: float

    @classmethod
    def of(cls, server: RunningServer) -> Census:
        process = psutil.Process(server.pid)
        below = [psutil.Process(pid) for pid in descendants(server.pid)]
        return cls(
            shm=len(semaphores_of(server.pid)),
            fds=process.num_fds(),
            threads=process.num_threads(),
            processes=len(below),
            zombies=sum(one.status() == psutil.STATUS_ZOMBIE for one in below),
            cgroup_leaves=len(leaves(server.state_dir)),
            workspaces=len(server.workspaces()),
            attempt_records=len(list((server.state_dir / "attempts").iterdir())),
            rss_mib=round(process.memory_info().rss / 2**20, 1),
        )

    def counts(self) -> dict[str, int]:
        """Return all counts but memory, which may grow a little because of the journal and the allocator."""
        return {name: int(value) for name, value in asdict(self).items() if name != "rss_mib"}


def settled(server: RunningServer, wanted: Callable[[Census], bool], looks: int = 500) -> Census:
    """The census once `wanted` holds, because things are put away a little later; the last one if it never does."""
    for _ in range(looks):
        try:
            found = Census.of(server)
        except psutil.NoSuchProcess:
            continue  # one of them ended while it was being read
        if wanted(found):
            break
        server.has_ended(0.02)
    return found


# --- ways to end


def _cancel(server: RunningServer, job_id: str, guardian: int) -> None:
    server.http.post(f"/jobs/{job_id}/cancel", json={})


def _force(server: RunningServer, job_id: str, guardian: int) -> None:
    server.http.post(f"/jobs/{job_id}/cancel", json={"force": True})


def _kill_guardian(server: RunningServer, job_id: str, guardian: int) -> None:
    os.kill(guardian, signal.SIGKILL)


def _stop_guardian(server: RunningServer, job_id: str, guardian: int) -> None:
    os.kill(guardian, signal.SIGSTOP)
    server.http.post(f"/jobs/{job_id}/cancel", json={})


def _nothing(server: RunningServer, job_id: str, guardian: int) -> None:
    """It ends by itself, or by the hang-up that comes next."""


WAYS: dict[str, tuple[str, Callable[[RunningServer, str, int], None], str]] = {
    "cancelled": (f"{DAEMONS}echo READY; wait", _cancel, "cancelled"),
    "forced": (f"trap '' TERM; {DAEMONS}echo READY; wait", _force, "cancelled"),
    "hung up on": (f"{DAEMONS}echo READY; wait", _nothing, "cancelled"),
    "guardian killed": (f"{DAEMONS}echo READY; wait", _kill_guardian, "failed"),
    "guardian stopped": (f"{DAEMONS}echo READY; wait", _stop_guardian, "cancelled"),
    "leaves daemons": ("(setsid sleep 60 &); echo READY", _nothing, "succeeded"),
    "is done": ("echo READY", _nothing, "succeeded"),
}


def end_one(server: RunningServer, number: int) -> None:
    """Run one job and end it in the way that its number selects. Raise AssertionError if it ends otherwise."""
    way, (command, act, state) = list(WAYS.items())[number % len(WAYS)]
    body = {"task": "shell", "input": {"command": command, "terminal": number % 2 == 0}}
    with server.stream(body) as stream:
        job_id = stream.until_type("job.queued").data["job_id"]
        if state == "succeeded":
            for _ in stream.rest(END_BOUND_S):
                pass
        else:
            runner = stream.until_type("job.running", READY_BOUND_S).data["pid"]
            stream.until_output("READY", READY_BOUND_S)
            act(server, job_id, guardian_of(runner))
            if way == "hung up on":
                stream.hang_up()
        job = server.wait_finished(job_id, END_BOUND_S)
    assert job["state"] == state, (way, job)
    assert state != "cancelled" or job["cancellation"]["within_budget"], (way, job)
    server.http.delete(f"/jobs/{job_id}").raise_for_status()


def end_many(server: RunningServer, numbers: range, at_once: int) -> None:
    with ThreadPoolExecutor(at_once) as threads:
        for _ in threads.map(lambda number: end_one(server, number), numbers):
            pass


def trash_of(server: RunningServer) -> list[Path]:
    return list((server.state_dir / "trash").iterdir())
