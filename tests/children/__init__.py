"""Children that misbehave: one sin a file, each in a function `misbehave(stage)`.

Each runs as a shell job (`python -m tests.children SIN --beacon FIFO`) and as a task inside the runner
(`tests.children.tasks`). Whatever it starts holds the beacon's write end, and everything ends by itself after
LIFETIME_S at the latest, so that a failing test leaves nothing for ever.
"""

from __future__ import annotations

import importlib
from enum import StrEnum
from typing import Protocol, cast

from tests.children.stage import Stage


class Naive(StrEnum):
    """How a server without containment stops a job when its client disconnects, from weakest to strongest."""

    CLOSE = "close"
    """Close the pipe and send no signal."""
    TERMINATE = "terminate"
    """SIGTERM to the process that it started."""
    KILL = "kill"
    """SIGKILL to the process that it started."""
    TERMINATE_GROUP = "terminate_group"
    """SIGTERM to its process group."""
    KILL_GROUP = "kill_group"
    """SIGKILL to its process group."""
    KILL_MARKED = "kill_marked"
    """SIGKILL to its process group and to everything that carries a variable of ours in its environment."""


SINS: dict[str, Naive] = {
    "polite_loop": Naive.CLOSE,
    "time_sleep": Naive.CLOSE,
    "busy_loop": Naive.CLOSE,
    "gil_holder": Naive.TERMINATE,
    "sigterm_ignored": Naive.TERMINATE_GROUP,
    "exceptions_swallowed": Naive.TERMINATE_GROUP,
    "shell_tree": Naive.KILL,
    "setsid_child": Naive.KILL_GROUP,
    "double_fork_daemon": Naive.KILL_GROUP,
    "pty_nohup": Naive.KILL_GROUP,
    "stopped_child": Naive.TERMINATE_GROUP,
    "chromium": Naive.KILL,
    "locked_files": Naive.KILL,
    "fork_storm": Naive.KILL_GROUP,
    "env_i_daemon": Naive.KILL_MARKED,
}
"""Every sin, with a naive stop that it survives: its negative control."""


class Sin(Protocol):
    """The shape of a module in this folder."""

    def misbehave(self, stage: Stage) -> None: ...


def commit(name: str, stage: Stage) -> None:
    """Run one sin in this process, until it is stopped or LIFETIME_S is over."""
    stage.arm_self_destruct()
    cast("Sin", importlib.import_module(f"tests.children.{name}")).misbehave(stage)
