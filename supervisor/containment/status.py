"""What the active containment level covers, and what it does not: the same words for people and for /health."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContainmentStatus:
    """`why_not` names the levels that are not active and the reason."""

    level: str
    covers: tuple[str, ...]
    not_covered: tuple[str, ...]
    why_not: dict[str, str]


_NOT_IN_THIS_VERSION = "not available in this version"

SUBREAPER = ContainmentStatus(
    level="subreaper",
    covers=(
        "processes in other sessions and process groups (setsid)",
        "daemons that double-fork, with or without an environment",
        "processes that ignore SIGTERM, or are stopped",
        "code that holds the interpreter lock or swallows every exception",
        "death of the guardian, or of the server, by SIGKILL",
    ),
    not_covered=(
        "tasks in uninterruptible sleep (state D): they end when the kernel lets them",
        "work that was handed to another daemon: docker, cron, at, systemd-run",
        "processes of another user (sudo, setuid) that the server may not signal",
        "fork storms that fork faster than /proc can be swept",
        "SIGKILL of the server and a guardian in the same moment",
    ),
    why_not={"cgroup": _NOT_IN_THIS_VERSION, "pidns": _NOT_IN_THIS_VERSION, "pgroup": "subreaper covers more"},
)
