"""Start workers: in one thread, one at a time, each start with a time limit.

`Process.start()` blocks for ever if the forkserver is stopped, so it never runs on the event loop. After the timeout
the forkserver is killed, which makes the call fail; then the resource tracker, because a start can also wait for its
full pipe. A start that hangs even then is given up with its thread, and another thread continues.
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
from supervisor.guardian.kernel_features import AVAILABLE, KernelFeatures
from supervisor.guardian.plan import Mechanism, Plan
from supervisor.guardian.proc import read_stat
from supervisor.guardian.procfs import Unreadable
from supervisor.node.cleanup.kill_round import reap
from supervisor.node.levels.cgroup_tree import CgroupTree
from supervisor.node.workers import server_forkserver, server_tracker
from supervisor.node.workers.disguise import disguised
from supervisor.node.workers.helper_thread import HelperThread, Unit
from supervisor.node.workers.spawn import spawn
from supervisor.node.workers.spawned_worker import SpawnedWorker, StartFailed
from supervisor.node.workers.used_cgroups import UsedCgroups

log = structlog.get_logger()

START_TIMEOUT_S = 2.0
GIVE_UP_AFTER_TIMEOUTS = 4
"""A start is given up with its thread after this many timeouts."""
DISPOSE_TIMEOUT_S = 0.1
CLOSE_TIMEOUT_S = 0.5
MECHANISMS = {
    Level.PGROUP: Mechanism.TABLE,
    Level.SUBREAPER: Mechanism.TREE,
    Level.CGROUP: Mechanism.TREE,
    Level.PIDNS: Mechanism.NAMESPACE,
}
"""How a guardian contains its job at each level. Levels with a cgroup have one besides."""
PRELOAD = [
    "supervisor.guardian.main",
    "runner.tasks.shell",
    "runner.tasks.agent",
    "runner.tasks.browse",
    "runner.tasks.demo",
]


class Starter:
    """Owns the thread, and with it every call into multiprocessing.

    Raise StartupError if there is no room for its threads: a server without them could not start a job.
    """

    def __init__(
        self,
        child_environment: dict[str, str],
        start_timeout_s: float = START_TIMEOUT_S,
        cgroups: CgroupTree | None = None,
        features: KernelFeatures = AVAILABLE,
        open_files: posix.Limit | None = None,
        records: str | None = None,
    ) -> None:
        self._environment = child_environment
        self._open_files = open_files
        """The limits of jobs; None for the limits of this process."""
        self._records = records
        """The folder of the attempts' records."""
        self._cgroups = cgroups
        self._features = features
        self._start_timeout_s = start_timeout_s
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        server_forkserver.prefer_temporary_folder()
        self._retired: list[SpawnedWorker] = []
        self._used_cgroups = UsedCgroups()
        self._collecting = threading.Lock()
        try:
            self.thread = HelperThread("deadstop-starter", give_up_after_s=GIVE_UP_AFTER_TIMEOUTS * start_timeout_s)
        except OSError as exc:
            raise StartupError(f"{exc}: raise the limit of processes (ulimit -u, TasksMax, pids.max)") from None

    def start_worker(self, level: Level) -> Future[SpawnedWorker]:
        """Request one worker, contained at `level`. The future fails with StartFailed."""
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
            # The exception is created here, without a context: a traceback would keep multiprocessing's pipes open.
            if not _resolve(future, started or StartFailed(failure)) and started is not None:
                started.discard()
                self._retired.append(started)

        timeout_s = self._start_timeout_s
        given_up = StartFailed(f"cannot start a process: it took over {GIVE_UP_AFTER_TIMEOUTS * timeout_s:.0f} s")
        self.thread.put(
            Unit(
                "starting a process",
                work,
                late=((timeout_s, server_forkserver.kill), (2 * timeout_s, server_tracker.kill)),
                given_up=lambda: _resolve(future, given_up),
            )
        )
        return future

    def retire(self, started: SpawnedWorker) -> None:
        """Forget a process that has ended or soon will, so that multiprocessing does not keep it until exit.

        Its Event is kept until then, because a child that is only just starting still has to find it.
        """
        self._retired.append(started)
        self._ask_to_collect()

    def tend(self) -> None:
        """Start missing threads, and dispose of what ended late. Call this about once a second."""
        self.thread.mend()
        self._ask_to_collect()

    def _ask_to_collect(self) -> None:
        if self._retired or self._used_cgroups:
            self.thread.put(Unit("putting away what has ended", lambda: self._collect(DISPOSE_TIMEOUT_S)))

    def _collect(self, timeout_s: float) -> None:
        if not self._collecting.acquire(blocking=False):
            return  # a thread that was given up hangs in it
        try:
            deadline = time.monotonic() + timeout_s
            for started in list(self._retired):
                self._dispose(started, max(0.0, deadline - time.monotonic()))
            self._used_cgroups.remove_pending(deadline)
        finally:
            self._collecting.release()

    def _dispose(self, started: SpawnedWorker, timeout_s: float) -> None:
        try:
            # The forkserver reports an exit a moment later; a stopped one never does, and is tried again. All share the
            # timeout, because starts wait behind this.
            started.process.join(timeout=timeout_s)
            if started.process.exitcode is None or _waits_for_us(started.process):
                return
            self._release_event(started)
            started.process.close()
        except OSError as exc:
            log.warning("set_not_put_away", guardian=started.process.pid, error=str(exc))
            return  # it is tried again later
        self._retired.remove(started)
        if started.plan.leaf is not None:
            self._used_cgroups.remove(started.plan.leaf)

    def _release_event(self, started: SpawnedWorker) -> None:
        # This sends to the tracker. A dead one is replaced, and the new one must not get the server's environment.
        server_tracker.mend(self._environment)
        with disguised(self._environment):
            started.event = None

    def close(self) -> None:
        """End the thread and the forkserver, with a time limit. Call this when every guardian has ended."""
        for unit in self.thread.close(self._start_timeout_s + 0.5):
            # A start that was under way may have queued more since.
            unit.given_up()
        self._collect(CLOSE_TIMEOUT_S)
        server_forkserver.end()

    def _start(self, level: Level) -> SpawnedWorker:
        leaf = self._cgroups.new_leaf() if self._cgroups is not None and level.takes_cgroup else None
        try:
            if leaf is not None:
                leaf.hold()  # now, because a job could take its files away later
            plan = Plan(MECHANISMS[level], leaf, self._features, self._records)
            return spawn(self._context, level, plan, self._environment, self._open_files)
        except BaseException:
            if leaf is not None:
                self._used_cgroups.remove(leaf)
            raise


def _resolve(future: Future[SpawnedWorker], outcome: SpawnedWorker | StartFailed) -> bool:
    """Return False if it is resolved already, by the thread that gave up the start or by the start that was given
    up.
    """
    try:
        if isinstance(outcome, StartFailed):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    except InvalidStateError:
        return False
    return True


def _waits_for_us(process: ForkServerProcess) -> bool:
    """Return whether it is a zombie, or soon will be, that the forkserver cannot reap because it died before."""
    pid = process.pid
    assert pid is not None
    reap(pid)
    try:
        stat = read_stat(pid)
    except Unreadable:
        return True  # it is not known to have been reaped
    # A guardian leads a session. That distinguishes it from a process that may have the same pid by now.
    return stat is not None and stat.sid == pid and stat.name == guardian.NAME
