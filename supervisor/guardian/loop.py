"""The guardian's loop: wait for orders, for the runner's acknowledgement and for children to end; act; prove.

The control socket is its lifeline: EOF means that the supervisor died. Then the job is killed at once, and the proof is
left on the disk for the next server.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from dataclasses import replace
from typing import Literal

from supervisor.guardian import offline_proof
from supervisor.guardian.ladder import GRACE_AFTER_TERMINATE_S, Ladder, Step
from supervisor.guardian.launch import Launched, make_sweep
from supervisor.guardian.limits import LimitWatch
from supervisor.guardian.plan import Plan
from supervisor.guardian.protocol import Acknowledged, Ended, Hello, Limit, Mark, Signalled, Stop
from supervisor.guardian.resource_tracker import Tracker
from supervisor.guardian.runner_messages import RunnerMessages
from supervisor.guardian.supervisor_link import SupervisorLink
from supervisor.guardian.sweep import LOOK_S, reap_children
from supervisor.guardian.sweep_pacing import SweepPacing

MAX_PIDS_REPORTED = 500


class Guardian:
    """The guardian of one attempt. `run` returns when nothing of the attempt is left."""

    def __init__(
        self, plan: Plan, control: socket.socket, acknowledge_fd: int, launched: Launched, tracker: Tracker
    ) -> None:
        self._plan = plan
        self._link = SupervisorLink(control)
        self._runner_messages = RunnerMessages(acknowledge_fd)
        self._launched = launched
        self._tracker = tracker
        self._sweep = make_sweep(plan, launched, tracker.tracker_pids)
        self._limits = LimitWatch(plan.leaf)
        self._ladder: Ladder | None = None
        self._reached = Step.ASK
        self._rounds = SweepPacing.of_terminate()
        self._runner_status: int | None = None
        self._runner_gone_at: float | None = None
        self._leftovers = 0
        self._leftovers_kill_at: float | None = None
        self._ms: dict[str, float] = {}
        self._acknowledged_early = False
        self._child_read, self._child_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._records_fd = None if plan.records is None else offline_proof.open_folder(plan.records)

    def run(self) -> None:
        """Run until the tree is empty. Report the end, unless the supervisor has died."""
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only wakes the poll below
        signal.set_wakeup_fd(self._child_write, warn_on_full_buffer=False)
        self._poller = select.poll()
        for fd in (self._link.fd, self._runner_messages.fd, self._child_read):
            self._poller.register(fd, select.POLLIN)
        if self._launched.namespace is not None:
            self._poller.register(self._launched.namespace.report_fd, select.POLLIN)
        self._link.send(Hello(os.getpid(), self._launched.runner_pid, self._launched.init_pid))
        while not self._is_empty():
            self._act()
            self._wait(self._timeout_ms())
        self._wait(0)  # the runner may have acknowledged and ended before this process ran again
        self._tracker.end(self._child_read)
        # A child here would be a bug; an unrelated process in the cgroup was moved there. Both are swept again.
        while not self._sweep.proven_empty():
            self._sweep.kill()
            time.sleep(LOOK_S)
        self._mark("gone")
        self._limits.check_counters()
        self._link.send(
            Ended(
                runner_status=self._runner_status,
                leftovers=self._leftovers,
                processes_seen=len(self._sweep.seen),
                acknowledged_ms=self._ms.get("acknowledged"),
                terminated_ms=self._ms.get("terminated"),
                killed_ms=self._ms.get("killed"),
                gone_ms=self._ms.get("gone"),
                proof=self._plan.proof,
                limit=self._limits.reached,
            )
        )
        if not self._link.is_open and self._records_fd is not None:
            offline_proof.leave_for_next_server(self._records_fd, self._plan.proof, len(self._sweep.seen))

    def _is_empty(self) -> bool:
        reaped = reap_children()
        if self._tracker.pid in reaped:
            self._tracker.pid = None  # the job killed it: what it tracked is lost, but the job is still contained
        if self._runner_gone_at is None:
            status = self._launched.runner_status(reaped)
            if status is not None:
                self._runner_ended(status)
        if self._runner_gone_at is None:
            return False
        return self._sweep.has_no_child_but(self._tracker.pid) and not self._sweep.orphans()

    def _runner_ended(self, status: int) -> None:
        now = time.monotonic()
        self._runner_status = status
        self._runner_gone_at = now
        if self._ladder is not None:
            self._ladder = replace(self._ladder, runner_gone_at=now)
            self._leftovers = max(self._leftovers, len(self._sweep.pids()))
            return
        self._leftovers = len(self._sweep.terminate())
        self._leftovers_kill_at = now + GRACE_AFTER_TERMINATE_S

    def _wait(self, timeout_ms: float | None) -> None:
        for fd, _ in self._poller.poll(timeout_ms):
            if fd == self._child_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(fd, 4096)
            elif fd == self._runner_messages.fd:
                if not self._runner_messages.handle(self._acknowledged, self._sweep.stop_command):
                    self._poller.unregister(fd)
            elif fd == self._link.fd:
                self._read_orders()
            else:
                self._poller.unregister(fd)  # the runner has ended; its status is read with the next check

    def _timeout_ms(self) -> float | None:
        now = time.monotonic()
        if self._reached >= Step.KILL or not self._link.is_open:
            dues: list[float | None] = [self._rounds.due]
        else:
            dues = [self._leftovers_kill_at, self._sample_due(), self._sweep.next_look]
            if self._ladder is not None:
                dues.append(self._ladder.next_due(now))
            if self._reached is Step.TERMINATE:
                dues.append(self._rounds.due)
        due = min((due for due in dues if due is not None), default=None)
        return None if due is None else max(0.0, (due - now) * 1000)

    def _read_orders(self) -> None:
        for order in self._link.receive():
            match order:
                case Stop():
                    self._stop(order)
                case Limit():
                    self._limits.set(order, time.monotonic())
                case Mark(variables):
                    self._sweep.mark(variables)
        if not self._link.is_open:
            self._poller.unregister(self._link.fd)

    def _stop(self, order: Stop) -> None:
        before = self._ladder or Ladder(t0=order.t0, budget_s=order.budget_s)
        self._ladder = replace(
            before.raised(
                order.t0,
                order.budget_s,
                force=order.force,
                vanished=order.vanished,
                after_result=order.after_result,
            ),
            runner_gone_at=self._runner_gone_at,
            rss_bytes=self._sweep.rss_bytes(),
        )
        if self._acknowledged_early:
            self._acknowledged()

    def _acknowledged(self) -> None:
        if self._ladder is None:
            # The runner has read the Event before this process has read the order.
            self._acknowledged_early = True
            return
        self._mark("acknowledged")
        self._ladder = replace(self._ladder, acknowledged=True)
        self._link.send(Acknowledged(self._ms["acknowledged"]))

    def _act(self) -> None:
        """Do what is due: rounds of SIGTERM, then rounds of SIGKILL."""
        now = time.monotonic()
        if self._sweep.next_look is not None and now >= self._sweep.next_look:
            self._sweep.look(now)
        sample_due = self._sample_due()
        if sample_due is not None and now >= sample_due:
            self._limits.check(self._sweep.sample(), now)
        step = self._step(now)
        if step > self._reached and step is not Step.ASK:
            self._rounds = SweepPacing.of_terminate() if step is Step.TERMINATE else SweepPacing.of_kill()
        if step is not Step.ASK and now >= self._rounds.due:
            self._round(step)
        self._reached = step

    def _step(self, now: float) -> Step:
        leftovers_due = self._leftovers_kill_at is not None and now >= self._leftovers_kill_at
        if leftovers_due or self._limits.reached is not None or not self._link.is_open:
            return Step.KILL
        return self._reached if self._ladder is None else max(self._reached, min(self._ladder.step(now), Step.KILL))

    def _round(self, step: Step) -> None:
        known = len(self._sweep.seen)
        if step is Step.TERMINATE:
            self._report("SIGTERM", "terminated", self._sweep.terminate())
        else:
            pids = self._sweep.kill()
            if self._reached < Step.KILL and self._ladder is not None and self._launched.runner_pid in pids:
                self._leftovers = len(pids) - 1  # counts only if the task has finished and this is its clean-up
            self._report("SIGKILL", "killed", pids)
        self._rounds.made(time.monotonic(), newcomers=len(self._sweep.seen) > known)
        if step is Step.TERMINATE and self._ladder is not None:
            # Measured again: the tree may have grown since the cause was detected.
            self._ladder = replace(self._ladder, rss_bytes=self._sweep.rss_bytes())

    def _sample_due(self) -> float | None:
        # Leftovers of a finished task are ended soon, so they are not measured.
        return self._limits.next_due if self._runner_gone_at is None else None

    def _report(self, name: Literal["SIGTERM", "SIGKILL"], mark: str, pids: list[int]) -> None:
        if self._ladder is not None and pids and mark not in self._ms:
            self._mark(mark)
            self._link.send(Signalled(name, pids[:MAX_PIDS_REPORTED], self._ms[mark]))

    def _mark(self, name: str) -> None:
        if self._ladder is not None:
            self._ms.setdefault(name, round((time.monotonic() - self._ladder.t0) * 1000, 1))
