"""A description of what the active containment level covers, and what it does not: the same text for people and
/health.
"""

from __future__ import annotations

from supervisor.engine.containment import ContainmentStatus, Level, Levels

_TREE = (
    "processes in other sessions and process groups (setsid)",
    "daemons that double-fork, with or without an environment",
    "processes that ignore SIGTERM, or are stopped",
    "code that holds the interpreter lock or swallows every exception",
    "death of the guardian, or of the server, by SIGKILL",
)
_NEVER = (
    "tasks in uninterruptible sleep (state D): they end when the kernel lets them",
    "work that was handed to another daemon: docker, cron, at, systemd-run",
)
_BY_TABLE = (
    "the job's process tree and its session, with all process groups in it",
    "processes in other sessions that were seen below the job, or that keep its environment",
    "processes that ignore SIGTERM, or are stopped",
    "code that holds the interpreter lock or swallows every exception",
    "death of the server by SIGKILL",
)
_BEST_EFFORT = (
    "best effort only: that nothing is left is read from the process table, where a process may go unseen",
    "daemons in a new session with an emptied environment whose parents ended before they were seen",
    "after SIGKILL of the guardian: daemons in a new session with an emptied environment",
)
_ONLY_SIGNALS = (
    "processes of another user (sudo, setuid) that the server may not signal",
    "fork storms that fork faster than /proc can be swept",
)
_BY_CGROUP = (
    "fork storms: what the job forks is killed in one step, however fast it forks",
    "processes of another user (sudo, setuid)",
)
_DOUBLE_KILL = "SIGKILL of the server and a guardian in the same moment"
_OWN_NAMESPACE = ("jobs that signal their guardian, or everything that they may (kill -9 -1)",)


def status_of(levels: Levels) -> ContainmentStatus:
    """Describe a server that has these levels."""
    inactive = [level for level in Level if level is not levels.default]
    covers, not_covered = _words(levels.default, has_cgroup=Level.CGROUP not in levels.why_not)
    return ContainmentStatus(
        level=levels.default,
        covers=covers,
        not_covered=(*not_covered, *_NEVER),
        why_not={level: levels.why_not.get(level) or _not_needed(level, levels.default) for level in inactive},
    )


def _words(level: Level, *, has_cgroup: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if level is Level.PGROUP:
        return _BY_TABLE, (*_BEST_EFFORT, *_ONLY_SIGNALS, _DOUBLE_KILL)
    if level is Level.PIDNS:
        return (*_TREE, *_BY_CGROUP, *_OWN_NAMESPACE, _DOUBLE_KILL), ()
    if level.takes_cgroup and has_cgroup:
        return (*_TREE, *_BY_CGROUP), (_DOUBLE_KILL,)
    return _TREE, (*_ONLY_SIGNALS, _DOUBLE_KILL)


def _not_needed(level: Level, active: Level) -> str:
    ranks = list(Level)
    if ranks.index(level) < ranks.index(active):
        return f"{active} covers more"
    return "available when a job or the setting DEADSTOP_CONTAINMENT asks for it"
