"""The same scene under every fault: an innocent job, one that is cancelled, one that ends by itself, one that comes.

Everything is looked at from outside: processes by pidfds that were taken before the fault, the rest as a client does.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.faults.faults import Fault, Target
from tests.faults.injection import Injection
from tests.faults.seen import Seen
from tests.support.client import EventStream
from tests.support.observer import Watched, descendants
from tests.support.server import RunningServer
from tests.support.sins import guardian_of

BUDGET_S = 2.0
MARGIN_S = 1.0
"""How much longer a job's end may take seen from outside, because of tracing and other programs on the machine."""
READY_BOUND_S = 15.0
TRY_S = 2.5
"""After so long without an answer a client asks again, on a connection of its own."""
ANSWER_BOUND_S = 6.0
"""Within this a cancel is answered, whatever the fault, unless the fault is in the way to the server itself."""
AFTER_BOUND_S = 10.0
"""Within this the next job runs and readyz is well again, once the fault is over."""
WELL_BOUND_S = 40.0
"""A self-test that has failed is done again after half a minute."""
LEFTOVERS_S = 0.5
NEXT_JOBS = 3
"""More than there are workers that wait: at least one of them has to be started anew."""
COMES_UP_S = 0.5
"""How much longer a fault is kept that has not come up yet: a worker that was taken is replaced a moment later."""
SHOWN_BOUND_S = 1.5
"""How long a new job may take to start while the fault lasts, and then readyz to show what is wrong."""

POLITE = "(setsid sh -c 'echo READY; exec sleep 300' &); exec sleep 300"
STUBBORN = "trap '' TERM; (setsid sh -c 'echo READY; exec sleep 300' &); sleep 300; sleep 300"


class Scene:
    """One server that is used for many faults, as long as no invariant is broken."""

    def __init__(self, server: RunningServer, pid: int) -> None:
        self.server = server
        self._pid = pid
        self._folder = server.state_dir.parent
        self._number = 0
        self._descriptors = 0

    def play(
        self, fault: Fault | None, *, target: Target = Target.SERVER, stubborn: bool = False
    ) -> tuple[Seen, Injection]:
        """Play one scene. Without a fault, only count the calls of `target`."""
        self._number += 1
        seen = Seen()
        said_before = len(self.server.stderr)
        self._descriptors = self._descriptors or self._now()
        cancelled, ended, innocent = (f"{name}-{self._number}" for name in ("cancelled", "ended", "innocent"))
        fifo = self._folder / f"fifo-{self._number}"
        os.mkfifo(fifo)
        fifo.chmod(0o666)  # the job may be another user's
        fd = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._start(innocent, "echo READY; exec sleep 300")
            runner = self._start(cancelled, STUBBORN if stubborn else POLITE)
            other = self._start(ended, f"(setsid sh -c 'echo READY; exec sleep 300' &); read _ < '{fifo}'")
            guardians = [guardian_of(runner), guardian_of(other)]
            with Watched([runner, *descendants(runner)]) as tree, Watched([other, *descendants(other)]) as rest:
                aimed = fault.target if fault is not None else target
                injection = self._injection(aimed, guardians, fault)
                with injection:
                    self._during(seen, fault, cancelled, tree, lambda: os.write(fd, b"\n"))
                    if fault is not None:
                        injection.wait_for_hit(COMES_UP_S)
                seen.hits = injection.hits if fault is not None else 0
                self._afterwards(seen, cancelled, ended, tree, rest)
        finally:
            os.close(fd)
            fifo.unlink()
            self._ask("POST", f"/jobs/{innocent}/cancel?wait=2", {"force": True}, AFTER_BOUND_S)
            seen.descriptors = self._more_descriptors()
        seen.said = self.server.stderr[said_before:]
        return seen, injection

    def _injection(self, target: Target, guardians: list[int], fault: Fault | None) -> Injection:
        pids = {
            Target.SERVER: [self._pid],
            Target.GUARDIAN: guardians,
            Target.FORKSERVER: [forkserver_of(self._pid)],
        }[target]
        return Injection(pids, self._folder / "trace", fault, follow=target is Target.SERVER)

    # --- while the fault lasts

    def _during(
        self, seen: Seen, fault: Fault | None, job_id: str, tree: Watched, let_other_end: Callable[[], object]
    ) -> None:
        answer = self._ask("POST", f"/jobs/{job_id}/cancel", {}, ANSWER_BOUND_S)
        answered_at = time.monotonic()
        seen.cancel_status = None if answer is None else answer.status_code
        let_other_end()
        comes = self._ask("POST", "/jobs", self._body(f"during-{self._number}", "echo READY"), ANSWER_BOUND_S)
        seen.submit_status = None if comes is None else comes.status_code
        if seen.cancel_status is not None:
            seen.late = [str(one) for one in tree.wait_gone(answered_at + BUDGET_S + MARGIN_S)]
        if seen.accepted:
            job = self._seen_as(f"during-{self._number}", "started_at", SHOWN_BOUND_S)
            seen.started_during = job.get("started_at") is not None
        if fault is not None and fault.lasting:
            seen.ready_during = self._is_ready(until=False, bound_s=SHOWN_BOUND_S)

    # --- once it is over

    def _afterwards(self, seen: Seen, cancelled: str, ended: str, tree: Watched, rest: Watched) -> None:
        if not self.server.has_ended(0.1):
            self._ask_for_all(seen, cancelled, ended, tree, rest)
        if self.server.has_ended(0):
            seen.server_lives = False
            deadline = time.monotonic() + BUDGET_S + MARGIN_S
            seen.left = [str(one) for watched in (tree, rest) for one in watched.wait_gone(deadline)]

    def _ask_for_all(self, seen: Seen, cancelled: str, ended: str, tree: Watched, rest: Watched) -> None:
        if seen.cancel_status is None:
            self._ask("POST", f"/jobs/{cancelled}/cancel", {}, AFTER_BOUND_S)
            seen.late = [str(one) for one in tree.wait_gone(time.monotonic() + BUDGET_S + MARGIN_S)]
        seen.left = [str(one) for one in rest.wait_gone(time.monotonic() + BUDGET_S + LEFTOVERS_S + MARGIN_S)]
        seen.cancelled = self._finished(cancelled)
        seen.ended = self._finished(ended)
        if seen.accepted:
            seen.during = self._finished(f"during-{self._number}")
        for number in range(NEXT_JOBS):
            after = f"after-{self._number}-{number}"
            if self._ask("POST", "/jobs", self._body(after, "echo READY"), AFTER_BOUND_S) is None:
                break
            seen.after = self._finished(after)
            if seen.after.get("state") != "succeeded":
                break
        seen.innocent = self._job(f"innocent-{self._number}", AFTER_BOUND_S) or {}
        seen.ready_after = self._is_ready(until=True, bound_s=WELL_BOUND_S)

    def _more_descriptors(self) -> int:
        deadline = time.monotonic() + 3.0
        while (more := self._now() - self._descriptors) > 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        return more

    def _now(self) -> int:
        try:
            return len(os.listdir(f"/proc/{self._pid}/fd"))
        except FileNotFoundError:
            return 0

    def _is_ready(self, *, until: bool, bound_s: float) -> bool:
        """Whether readyz says so, asked until it says `until` or the bound is over."""
        deadline = time.monotonic() + bound_s
        found = not until
        while found is not until and (left_s := deadline - time.monotonic()) > 0:
            answer = self._ask("GET", "/readyz", None, left_s)
            found = answer is not None and answer.status_code == 200
            time.sleep(0.02)
        return found

    # --- asking

    def _start(self, job_id: str, command: str) -> int:
        """Wait until the job's processes are in place, and return its runner."""
        self.server.http.post("/jobs", json=self._body(job_id, command)).raise_for_status()
        with EventStream(self.server.url, self.server.token, method="GET", path=f"/jobs/{job_id}/events") as stream:
            runner: int = stream.until_type("job.running", READY_BOUND_S).data["pid"]
            stream.until_output("READY", READY_BOUND_S)
        return on_host(runner, self._pid)

    def _body(self, job_id: str, command: str) -> dict[str, Any]:
        return {"task": "shell", "id": job_id, "input": {"command": command, "terminal": False}}

    def _job(self, job_id: str, bound_s: float) -> dict[str, Any] | None:
        answer = self._ask("GET", f"/jobs/{job_id}", None, bound_s)
        return None if answer is None or answer.status_code != 200 else answer.json()

    def _finished(self, job_id: str) -> dict[str, Any]:
        """Return the job once it is finished, or as it is at the bound, or {} if it cannot be read."""
        return self._seen_as(job_id, "finished_at", AFTER_BOUND_S)

    def _seen_as(self, job_id: str, wanted: str, bound_s: float) -> dict[str, Any]:
        """The job once it has this time, or as it is at the bound. Asked for again and again: a stream may be cut."""
        deadline = time.monotonic() + bound_s
        job: dict[str, Any] = {}
        while job.get(wanted) is None and (left_s := deadline - time.monotonic()) > 0:
            job = self._job(job_id, left_s) or job
            time.sleep(0.02)
        return job

    def _ask(self, method: str, path: str, body: Any, bound_s: float) -> httpx.Response | None:
        """The answer; asked for again when a connection breaks or says nothing, as clients do. None: none in time."""
        deadline = time.monotonic() + bound_s
        while (left_s := deadline - time.monotonic()) > 0 and not self.server.has_ended(0):
            with contextlib.suppress(httpx.TransportError):
                return self.server.http.request(method, path, json=body, timeout=max(0.05, min(left_s, TRY_S)))
            time.sleep(0.01)
        return None


def forkserver_of(server_pid: int) -> int:
    """Find the forkserver, by the program that it was started with."""
    (found,) = [
        one.pid
        for one in psutil.Process(server_pid).children()
        if any("multiprocessing.forkserver" in word for word in one.cmdline())
    ]
    return found


def on_host(pid: int, server_pid: int) -> int:
    """The process id here of what the server calls `pid`: it may be in a pid namespace of its own."""
    if _names(server_pid) == [server_pid]:
        return pid
    depth = len(_names(server_pid)) - 1
    (found,) = [one for one in descendants(server_pid) if _names(one)[depth : depth + 1] == [pid]]
    return found


def _names(pid: int) -> list[int]:
    """Its ids, from this pid namespace inwards; empty when it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("NSpid:"):
                return [int(word) for word in line.split()[1:]]
    return []
