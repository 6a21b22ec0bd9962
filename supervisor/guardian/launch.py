"""The start of a guardian, from its first line to a runner that waits for its order, at each level of containment.

All of this happens before the guardian has a thread, and before it reports that it is ready.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, assert_never

from runner import posix
from supervisor.guardian import pidns
from supervisor.guardian.handle import Identity
from supervisor.guardian.membership import KnownProcesses
from supervisor.guardian.pidns import Namespace, NamespaceFailed
from supervisor.guardian.plan import Mechanism, Plan
from supervisor.guardian.sweep import Sweep
from supervisor.guardian.table_sweep import TableSweep


class LaunchFailed(Exception):
    """Raised when the guardian cannot contain a job as planned. The message says why."""


@dataclass(frozen=True, slots=True)
class Launched:
    """The runner of a guardian. It is the guardian's own child, or that of a namespace's init. Pids are the host's."""

    runner_pid: int
    namespace: Namespace | None = None

    @property
    def init_pid(self) -> int | None:
        return None if self.namespace is None else self.namespace.init_pid

    def runner_status(self, reaped: dict[int, int]) -> int | None:
        """Return the runner's wait status, or None while it runs. `reaped` maps the pids just reaped to their
        statuses.
        """
        return reaped.get(self.runner_pid) if self.namespace is None else self.namespace.runner_status(reaped)


def prepare(plan: Plan) -> None:
    """Make this process a guardian as planned. Orphans below it are reparented to it, unless it uses the table."""
    if plan.mechanism is not Mechanism.TABLE:
        posix.become_subreaper()


def launch(plan: Plan, run: Callable[[], NoReturn]) -> Launched:
    """Start the process that calls `run`, contained as planned. Raise LaunchFailed; there may be children then."""
    match plan.mechanism:
        case Mechanism.TABLE | Mechanism.TREE:
            launched = Launched(_fork_runner(run))
        case Mechanism.NAMESPACE:
            try:
                namespace = pidns.launch(lambda: _become_runner(run))
            except NamespaceFailed as exc:
                raise LaunchFailed(f"cannot make a pid namespace: {exc}") from exc
            launched = Launched(namespace.runner_pid, namespace)
        case _:
            assert_never(plan.mechanism)
    if plan.leaf is not None:
        # Before the job starts: everything that it forks is created in the cgroup, and cannot take its files away.
        try:
            plan.leaf.hold().add(launched.runner_pid)
        except OSError as exc:
            raise LaunchFailed(f"cannot use cgroup {plan.leaf.path}: {exc.strerror}") from exc
    return launched


def make_sweep(plan: Plan, launched: Launched, leave_out: frozenset[int]) -> Sweep:
    """Return the sweep for the plan. `leave_out` are the guardian's own children that do not belong to the job."""
    if plan.mechanism is not Mechanism.TABLE:
        return Sweep(
            os.getpid(),
            plan.leaf,
            leave_out=leave_out,
            use_children_files=plan.features.children_files,
            init_pid=launched.init_pid,
        )
    return TableSweep(
        os.getpid(),
        leave_out=leave_out,
        known_processes=KnownProcesses(os.getpid(), Identity.of(launched.runner_pid), leave_out=leave_out),
        use_pidfd=plan.features.pidfd,
    )


def _fork_runner(run: Callable[[], NoReturn]) -> int:
    guardian_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        posix.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != guardian_pid:
            os._exit(0)  # the guardian died before the line above
        _become_runner(run)
    return pid


def _become_runner(run: Callable[[], NoReturn]) -> NoReturn:
    posix.set_name("deadstop-runner")
    run()
