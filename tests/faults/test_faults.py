"""The short set: one fault of each kind, on one server. The whole is in test_every_fault.py."""

from __future__ import annotations

import pytest

from tests.faults.faults import Fault
from tests.faults.places import DEFAULT
from tests.faults.runs import play_all
from tests.support.tracing import needs_attaching

FAULTS = (
    "server:openat,pwrite64,fdatasync,ftruncate,rename,mkdir,unlink,rmdir,getdents64,newfstatat:delay:1+",
    "server:pwrite64,fdatasync,mkdir,rename,unlink,rmdir,ftruncate:EIO:1+",
    "server:openat:EMFILE:2",
    "server:newfstatat:EIO:3",
    "server:getdents64:EIO:2",
    "server:pwrite64:ENOSPC:4",
    "server:fdatasync:EIO:1",
    "server:rename:EROFS:1",
    "server:read:EIO:2",
    "guardian:openat:EMFILE:3",
    "guardian:kill:EPERM:1",
    "forkserver:clone:EAGAIN:1",
)
"""First a disk that takes five seconds for whatever it is asked, and one that is broken; then single calls."""


@needs_attaching
@pytest.mark.timeout(180)  # a fault that is not survived is waited for, and the next one gets a new server
def test_one_fault_of_each_kind_is_survived() -> None:
    outcome = play_all(DEFAULT, [Fault.parse(text) for text in FAULTS])
    assert outcome.wrong == []
    assert outcome.never_came_up == [], "these showed nothing"
