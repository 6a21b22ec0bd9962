"""The injector's own control: what it would report about a server that does one thing wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.faults import DELAY, ERRORS, FILE_CALLS, Fault, Target, drawn, lasting, single
from tests.faults.invariants import broken
from tests.faults.seen import Seen

ONCE = Fault.parse("server:openat:EIO:3")
OUTAGE = Fault.parse("server:openat:EIO:1+")
PROOF = {"proof": "echild", "survivors": [], "within_budget": True}


def job(state: str, **changes: Any) -> dict[str, Any]:
    return {"state": state, "phase": None, "error": None, "cancellation": None} | changes


def well(**changes: Any) -> Seen:
    """Return a scene in which every invariant holds."""
    seen = Seen(
        hits=1,
        cancel_status=202,
        submit_status=202,
        started_during=True,
        cancelled=job("cancelled", cancellation=PROOF),
        ended=job("succeeded"),
        during=job("succeeded"),
        innocent=job("running"),
        after=job("succeeded"),
        ready_after=True,
    )
    for name, value in changes.items():
        setattr(seen, name, value)
    return seen


@pytest.mark.parametrize("fault", [ONCE, OUTAGE], ids=str)
def test_no_violation_is_reported_when_every_invariant_holds(fault: Fault) -> None:
    assert broken(fault, well()) == []
    refused = well(submit_status=503, during=None, started_during=False, ready_during=False)
    assert broken(fault, refused) == []
    assert broken(fault, Seen(server_lives=False, said="deadstop: cannot go on: no room\n")) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cancel_status": None}, "the cancel was not answered"),
        ({"cancel_status": 500}, "the cancel was answered with 500"),
        ({"late": ["sleep[7]"]}, "outlived the budget"),
        ({"cancelled": job("cancelling")}, "the cancelled job is cancelling"),
        ({"cancelled": {}}, "the cancelled job is not to be had"),
        ({"cancelled": job("cancelled", cancellation=PROOF | {"proof": "none"})}, "no proof"),
        ({"cancelled": job("cancelled", cancellation=PROOF | {"survivors": [{"pid": 7}]})}, "no proof"),
        ({"late": ["sleep[7]"]}, "says that it was within its budget"),
        ({"left": ["sleep[7]"]}, "of the job that ended"),
        ({"ended": job("cancelled")}, "the job that ended is cancelled"),
        ({"ended": job("failed", error={"kind": "raised"})}, "the job that ended is failed"),
        ({"during": job("queued")}, "the job that came is queued"),
        ({"innocent": job("failed", error={"kind": "guardian"})}, "the innocent job is failed"),
        ({"submit_status": 500}, "a new job was answered with 500"),
        ({"after": job("queued")}, "the next job is queued"),
        ({"ready_after": False}, "not well again"),
        ({"descriptors": 9}, "9 descriptors more"),
        ({"said": "line\n" * 1000}, "wrote 1000 lines"),
        ({"server_lives": False, "said": "Traceback (most recent call last):\ndeadstop: x"}, "without a line"),
        ({"server_lives": False, "said": ""}, "without a line"),
        ({"server_lives": False, "said": "deadstop: cannot go on: x\n", "left": ["sleep[7]"]}, "and left"),
    ],
)
def test_each_violation_is_reported(changes: dict[str, Any], said: str) -> None:
    assert any(said in line for line in broken(ONCE, well(**changes)))


def test_an_outage_must_show() -> None:
    silent = {"submit_status": 503, "during": None, "started_during": False, "ready_during": True}
    assert any("readyz showed nothing" in line for line in broken(OUTAGE, well(**silent)))
    assert broken(ONCE, well(**silent)) == []  # one call that failed need not


def test_a_cancel_that_cannot_arrive_is_not_counted_against_the_server() -> None:
    assert broken(Fault.parse("server:accept4:EMFILE:1+"), well(cancel_status=None)) == []


def test_the_whole_space_is_drawn_once_each() -> None:
    counts = {Target.SERVER: {"openat": 3, "rename": 2}, Target.GUARDIAN: {"kill": 2, "gettid": 9}}
    everything = list(single(counts))
    assert len(everything) == 3 * len(ERRORS["openat"]) + 2 * len(ERRORS["rename"]) + 2 * len(ERRORS["kill"])
    assert sorted(map(str, drawn(counts, 1000, 1))) == sorted(map(str, [*lasting(), *everything]))
    assert drawn(counts, 30, 1) == drawn(counts, 30, 1)
    assert drawn(counts, 30, 1) != drawn(counts, 30, 2)
    assert all(Fault.parse(str(fault)) == fault for fault in drawn(counts, 1000, 1))


def test_a_fault_is_written_in_the_syntax_of_strace() -> None:
    assert ONCE.injection == "inject=openat:error=EIO:when=3"
    stall = Fault(Target.SERVER, FILE_CALLS[:2], DELAY, "1+")
    assert stall.injection == "inject=openat,pwrite64:delay_enter=5s:when=1+"
