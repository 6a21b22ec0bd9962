"""Invariants that must hold under every fault. Each check yields one line for each violation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.faults.faults import Fault
from tests.faults.seen import Seen

REFUSALS = {429, 503, 507}
MAX_SAID_LINES = 150
DESCRIPTORS_SLACK = 3


def broken(fault: Fault, seen: Seen) -> list[str]:
    """Return a line for each invariant that this fault broke."""
    checks: list[Callable[[Fault, Seen], Iterator[str]]] = [_server]
    if seen.server_lives:
        checks += [_cancel, _ends, _next, _ready, _tidy]
    return [line for check in checks for line in check(fault, seen)]


def _server(fault: Fault, seen: Seen) -> Iterator[str]:
    if seen.server_lives:
        return
    last = (seen.said.strip().splitlines() or [""])[-1]
    if "Traceback" in seen.said or "deadstop: " not in last:
        yield f"the server ended without a line that says why; its last one is {last[-200:]!r}"
    if seen.left:
        yield f"the server ended, and left {seen.left}"


def _cancel(fault: Fault, seen: Seen) -> Iterator[str]:
    if seen.cancel_status is None and not _is_in_the_way(fault):
        yield "the cancel was not answered while the fault lasted"
    if seen.cancel_status is not None and seen.cancel_status not in {200, 202}:
        yield f"the cancel was answered with {seen.cancel_status}"
    if seen.late:
        yield f"of the cancelled job {seen.late} outlived the budget"
    job = seen.cancelled
    if job.get("state") != "cancelled":
        yield f"the cancelled job is {_story(job)}"
        return
    proof = job["cancellation"]
    if proof["proof"] == "none" or proof["survivors"]:
        yield f"the cancelled job has no proof: {proof}"
    if seen.late and proof["within_budget"]:
        yield "the cancelled job says that it was within its budget"


def _ends(fault: Fault, seen: Seen) -> Iterator[str]:
    if seen.left:
        yield f"of the job that ended {seen.left} are left"
    for name, job in (("that ended", seen.ended), ("that came", seen.during)):
        if job is not None and not _is_true_end(job):
            yield f"the job {name} is {_story(job)}"
    if seen.innocent.get("state") != "running":
        yield f"the innocent job is {_story(seen.innocent)}"
    if seen.submit_status is not None and not seen.accepted and seen.submit_status not in REFUSALS:
        yield f"a new job was answered with {seen.submit_status}"


def _next(fault: Fault, seen: Seen) -> Iterator[str]:
    if seen.after.get("state") != "succeeded":
        yield f"the next job is {_story(seen.after)}"


def _ready(fault: Fault, seen: Seen) -> Iterator[str]:
    if fault.lasting and seen.ready_during and not seen.started_during and not _is_in_the_way(fault):
        yield f"jobs did not start (a new one: {seen.submit_status}), and readyz showed nothing"
    if not seen.ready_after:
        yield "readyz is not well again"


def _tidy(fault: Fault, seen: Seen) -> Iterator[str]:
    if seen.descriptors > DESCRIPTORS_SLACK:
        yield f"the server has {seen.descriptors} descriptors more than before"
    if (lines := seen.said.count("\n")) > MAX_SAID_LINES:
        yield f"the server wrote {lines} lines"


def _is_in_the_way(fault: Fault) -> bool:
    """Whether nothing can reach the server while this lasts, or what it answers cannot leave."""
    return fault.lasting and not {"accept4", "recvfrom", "sendto", "epoll_ctl"}.isdisjoint(fault.calls)


def _is_true_end(job: dict[str, Any]) -> bool:
    # The job did its work. It may only have failed because of a resource that the fault took.
    if job.get("state") == "succeeded":
        return True
    return job.get("state") == "failed" and job["error"]["kind"] in {"guardian", "store", "load"}


def _story(job: dict[str, Any]) -> str:
    if not job:
        return "not to be had"
    return f"{job['state']} ({job['phase']}), error {job['error']}, cancellation {job['cancellation']}"
