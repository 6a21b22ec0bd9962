"""Starting attempt sets: one thread, one at a time, each start bounded.

`Process.start()` blocks for ever when the forkserver is stopped, so it never runs on the event loop. Past its bound the
forkserver is killed, which makes the call fail; then the resource tracker, whose full pipe is the other thing that a
start can wait for. What hangs even so is given up with its thread, and another thread goes on.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import Future, InvalidStateError
from multiprocessing.context import ForkServerProcess

import structlog

from runner import posix
from supervisor.engine.containment import Level
from supervisor.errors import StartupError
from supervisor.guardian import main as guardian
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures
from supervisor.guardian.plan import Mechanism, Plan
from supervisor.guardian.proc import read_stat
from supervisor.guardian.procfs import Unreadable
from supervisor.node.cleanup.backstop import reap
from supervisor.node.levels.cgroup_tree import CgroupTree
from supervisor.node.workers import server_forkserver, server_tracker
from supervisor.node.workers.disguise import disguised
from supervisor.node.workers.helper_thread import HelperThread, Unit
from supervisor.node.workers.spawn import spawn
from supervisor.node.workers.spawned_worker import SpawnedWorker, StartFailed

log = structlog.get_logger()

START_TIMEOUT_S = 2.0
GIVE_UP_BOUNDS = 4
"""After so many times the bound of a start it is given up with its thread."""
RETIRE_BOUND_S = 0.1
CLOSE_BOUND_S = 0.5
LEAF_ROUND_S = 0.05
LEAF_BOUND_S = 30.0
"""How long one look waits for a cgroup to be removable, and how long it is looked at again."""
MECHANISMS = {
    Level.PGROUP: Mechanism.TABLE,
    Level.SUBREAPER: Mechanism.TREE,
    Level.CGROUP: Mechanism.TREE,
    Level.PIDNS: Mechanism.NAMESPACE,
}
"""How a guardian holds its job at each level; levels with a cgroup have one besides."""
PRELOAD = [
    "supervisor.guardian.main",
    "runner.tasks.shell",
    "runner.tasks.agent",
    "runner.tasks.browse",
    "runner.tasks.demo",
]


class Starter:
    """Owns the thread, and with it every call into multiprocessing.

    Making one raises StartupError when there is no room for its threads: a server without them could start no job.
    """

    def __init__(
        self,
        child_environment: dict[str, str],
        start_bound_s: float = START_TIMEOUT_S,
        cgroups: CgroupTree | None = None,
        means: KernelFeatures = AVAILABLE,
        open_files: posix.Limit | None = None,
        records: str | None = None,
    ) -> None:
        self._environment = child_environment
        self._open_files = open_files
        """What jobs are limited to; None: to what this process is."""
        self._records = records
        """The folder of the attempts' records."""
        self._cgroups = cgroups
        self._means = means
        self._start_bound_s = start_bound_s
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        server_forkserver.prefer_temporary_folder()
        self._retired: list[SpawnedWorker] = []
        self._leaves: dict[AttemptCgroup, float] = {}
        """Cgroups of sets that have ended, which could not be removed yet, and since when."""
        self._collecting = threading.Lock()
        try:
            self.thread = HelperThread("deadstop-starter", give_up_after_s=GIVE_UP_BOUNDS * start_bound_s)
        except OSError as exc:
            raise StartupError(f"{exc}: raise the limit of processes (ulimit -u, TasksMax, pids.max)") from None

    def start_set(self, level: Level) -> Future[SpawnedWorker]:
        """Ask for one set, contained at `level`. The future fails with StartFailed."""
        future: Future[SpawnedWorker] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            started: SpawnedWorker | None = None
            failure = ""
            try:
                started = self._start(level)
            except Exception as exc:
                failure = f"cannot start a process: {type(exc).__name__}: {exc}"
            # The failure is made here, without a context: a traceback would keep multiprocessing's pipes open.
            if not _resolve(future, started or StartFailed(failure)) and started is not None:
                started.discard()
                self._retired.append(started)

        bound_s = self._start_bound_s
        given_up = StartFailed(f"cannot start a process: it took over {GIVE_UP_BOUNDS * bound_s:.0f} s")
        self.thread.put(
            Unit(
                "starting a process",
                work,
                late=((bound_s, server_forkserver.kill), (2 * bound_s, server_tracker.kill)),
                given_up=lambda: _resolve(future, given_up),
            )
        )
        return future

    def retire(self, started: SpawnedWorker) -> None:
        """Forget a process that has ended or soon will, so that multiprocessing does not keep it until exit.

        Its Event is kept until then: a child that is only just starting still has to find it.
        """
        self._retired.append(started)
        self._ask_to_collect()

    def tend(self) -> None:
        """Make threads that are missing, and put away what ended late. Call about once a second."""
        self.thread.mend()
        self._ask_to_collect()

    def _ask_to_collect(self) -> None:
        if self._retired or self._leaves:
            self.thread.put(Unit("putting away what has ended", lambda: self._collect(RETIRE_BOUND_S)))

    def _collect(self, bound_s: float) -> None:
        if not self._collecting.acquire(blocking=False):
            return  # a thread that was given up hangs in it
        try:
            deadline = time.monotonic() + bound_s
            for started in list(self._retired):
                self._put_away(started, max(0.0, deadline - time.monotonic()))
            self._remove_leaves(deadline)
        finally:
            self._collecting.release()

    def _put_away(self, started: SpawnedWorker, bound_s: float) -> None:
        try:
            # The forkserver reports an exit a moment after it; a stopped one never does, and is tried again. All share
            # the bound, because starts wait behind this.
            started.process.join(timeout=bound_s)
            if started.process.exitcode is None or _waits_for_us(started.process):
                return
            self._give_back_event(started)
            started.process.close()
        except OSError as exc:
            log.warning("set_not_put_away", guardian=started.process.pid, error=str(exc))
            return  # it is tried again
        self._retired.remove(started)
        if started.plan.leaf is not None:
            self._remove(started.plan.leaf)

    def _remove(self, leaf: AttemptCgroup) -> None:
        """Now, or at one of the next looks: it is busy until the kernel has torn down what was in it."""
        if not _removed(leaf):
            self._leaves[leaf] = time.monotonic()

    def _remove_leaves(self, deadline: float) -> None:
        for leaf, since in list(self._leaves.items()):
            if time.monotonic() >= deadline:
                return
            gone = _removed(leaf)
            if gone or time.monotonic() - since > LEAF_BOUND_S:
                del self._leaves[leaf]
            if not gone and leaf not in self._leaves:
                # Given up: the server removes its whole subtree when it ends, and the next one what is left of that.
                log.warning("cgroup_not_removed", path=leaf.path)

    def _give_back_event(self, started: SpawnedWorker) -> None:
        # The tracker hears of that. If it is dead it is replaced, and the new one must not have our environment.
        server_tracker.mend(self._environment)
        with disguised(self._environment):
            started.event = None

    def close(self) -> None:
        """End the thread and the forkserver. Call when every guardian has ended. Bounded."""
        for unit in self.thread.close(self._start_bound_s + 0.5):
            # A start that was under way may have asked for more since.
            unit.given_up()
        self._collect(CLOSE_BOUND_S)
        server_forkserver.end()

    def _start(self, level: Level) -> SpawnedWorker:
        leaf = self._cgroups.new_leaf() if self._cgroups is not None and level.takes_cgroup else None
        try:
            if leaf is not None:
                leaf.hold()  # before there is a job that could take its files away
            plan = Plan(MECHANISMS[level], leaf, self._means, self._records)
            return spawn(self._context, level, plan, self._environment, self._open_files)
        except BaseException:
            if leaf is not None:
                self._remove(leaf)
            raise


def _resolve(future: Future[SpawnedWorker], outcome: SpawnedWorker | StartFailed) -> bool:
    """False: it is resolved already, by the thread that gave up the start or by the start that was given up."""
    try:
        if isinstance(outcome, StartFailed):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    except InvalidStateError:
        return False
    return True


def _removed(leaf: AttemptCgroup) -> bool:
    try:
        return leaf.remove(LEAF_ROUND_S)
    except OSError:
        # A job of the same user can take the right to write to it away: it is tried again.
        return False


def _waits_for_us(process: ForkServerProcess) -> bool:
    """Whether it is a zombie, or soon will be, that the forkserver can no longer reap because it died before."""
    pid = process.pid
    assert pid is not None
    reap(pid)
    try:
        stat = read_stat(pid)
    except Unreadable:
        return True  # it is not known to be gone
    # A session of its own is how a guardian is told from whatever may have got the number since.
    return stat is not None and stat.sid == pid and stat.name == guardian.NAME
