"""Which system calls fail, with which errors, and how often: the whole space, and what is drawn from it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Target(StrEnum):
    """Whose calls fail. The starter is a thread of the server, and the forkserver that it talks to."""

    SERVER = "server"
    GUARDIAN = "guardian"
    FORKSERVER = "forkserver"


@dataclass(frozen=True, slots=True)
class Fault:
    """`effect` is an errno's name or `delay`. `when` counts each thread's calls: "3", or "3+" for all from there."""

    target: Target
    calls: tuple[str, ...]
    effect: str
    when: str

    @property
    def lasting(self) -> bool:
        """Whether it is an outage or a stall, and not one call that fails."""
        return self.when.endswith("+")

    @property
    def injection(self) -> str:
        """Return it in the syntax of strace."""
        effect = f"delay_enter={STALL_S}s" if self.effect == DELAY else f"error={self.effect}"
        return f"inject={','.join(self.calls)}:{effect}:when={self.when}"

    def __str__(self) -> str:
        return f"{self.target}:{','.join(self.calls)}:{self.effect}:{self.when}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        target, calls, effect, when = text.split(":")
        return cls(Target(target), tuple(calls.split(",")), effect, when)


DELAY = "delay"
STALL_S = 5

ERRORS: dict[str, tuple[str, ...]] = {
    "openat": ("EMFILE", "ENFILE", "ENOMEM", "EIO", "EACCES"),
    "read": ("EIO",),
    "getdents64": ("EIO", "ENOMEM"),
    "newfstatat": ("EIO", "EACCES", "ENOMEM"),
    "write": ("EIO", "ENOSPC"),
    "pwrite64": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO", "ENOSPC"),
    "ftruncate": ("EIO",),
    "rename": ("EIO", "ENOSPC", "EROFS"),
    "mkdir": ("EIO", "ENOSPC", "EROFS", "EMLINK"),
    "unlink": ("EIO", "EROFS"),
    "rmdir": ("EIO", "EBUSY"),
    "link": ("EIO", "ENOSPC", "EMLINK"),
    "chmod": ("EIO", "EPERM"),
    "pipe2": ("EMFILE", "ENFILE"),
    "socketpair": ("EMFILE", "ENOBUFS"),
    "socket": ("EMFILE", "ENOBUFS"),
    "connect": ("ECONNREFUSED", "EAGAIN"),
    "sendmsg": ("ENOBUFS", "ETOOMANYREFS"),
    "accept4": ("EMFILE", "ENFILE", "ENOMEM", "ECONNABORTED"),
    "recvfrom": ("ECONNRESET", "ENOMEM"),
    "sendto": ("ECONNRESET", "ENOBUFS", "EPIPE"),
    "setsockopt": ("ENOMEM",),
    "epoll_ctl": ("ENOMEM", "ENOSPC"),
    "poll": ("ENOMEM",),
    "pidfd_open": ("EMFILE", "ENOMEM"),
    "pidfd_send_signal": ("EPERM",),
    "kill": ("EPERM",),
    "prlimit64": ("EPERM",),
    "clone": ("EAGAIN", "ENOMEM"),
    "clone3": ("EAGAIN", "ENOMEM"),
    "mmap": ("ENOMEM",),
}
"""Call → the errors that its manual page names and a machine in trouble gives."""

OUTAGES: dict[str, tuple[tuple[str, ...], str]] = {
    "no descriptors": (("openat", "pipe2", "socketpair", "socket", "accept4", "pidfd_open", "dup"), "EMFILE"),
    "no descriptors but sockets": (("openat", "pipe2", "pidfd_open", "dup"), "EMFILE"),
    "no threads": (("clone", "clone3", "fork", "vfork"), "EAGAIN"),
    "disk full": (("pwrite64", "mkdir", "rename", "link", "ftruncate"), "ENOSPC"),
    "disk broken": (("pwrite64", "fdatasync", "mkdir", "rename", "unlink", "rmdir", "ftruncate"), "EIO"),
    "read-only": (("pwrite64", "mkdir", "rename", "unlink", "rmdir", "link", "chmod", "ftruncate"), "EROFS"),
    "nothing opens": (("openat",), "EIO"),
    "no listings": (("getdents64",), "EIO"),
    "no signals": (("kill", "pidfd_send_signal"), "EPERM"),
}
"""Shortages that last: each of these calls fails for as long as the fault lasts."""

FILE_CALLS = (
    "openat",
    "pwrite64",
    "fdatasync",
    "ftruncate",
    "rename",
    "mkdir",
    "unlink",
    "rmdir",
    "getdents64",
    "newfstatat",
)
CALLS = tuple(ERRORS)

Counts = Mapping[Target, Mapping[str, int]]
"""How often a thread of the target makes each call in one scene: the most that one of its threads does."""


def lasting() -> list[Fault]:
    """Outages and stalls, of the server alone: a guardian that cannot do anything is handled like a dead one."""
    faults = [Fault(Target.SERVER, calls, error, "1+") for calls, error in OUTAGES.values()]
    faults.append(Fault(Target.SERVER, FILE_CALLS, DELAY, "1+"))
    faults.append(Fault(Target.SERVER, ("pwrite64", "fdatasync", "rename", "unlink", "mkdir", "rmdir"), DELAY, "1+"))
    for target in (Target.GUARDIAN, Target.FORKSERVER):
        faults += [Fault(target, *OUTAGES[name], "1+") for name in ("no descriptors", "no threads", "no signals")]
    return faults


def single(counts: Counts) -> Iterator[Fault]:
    """Every call that is made, the n-th time, for all n, with each of its errors."""
    for target, calls in counts.items():
        for call, most in calls.items():
            for error in ERRORS.get(call, ()):
                for number in range(1, most + 1):
                    yield Fault(target, (call,), error, str(number))


def drawn(counts: Counts, rounds: int, seed: int) -> list[Fault]:
    """`rounds` of them: what lasts first, then the first call of each kind with each error, then others at random."""
    everything = list(single(counts))
    firsts = [fault for fault in everything if fault.when == "1"]
    others = [fault for fault in everything if fault.when != "1"]
    random.Random(seed).shuffle(others)
    return [*lasting(), *firsts, *others][:rounds]
