"""The guardian's loop: wait for orders, for the runner's acknowledgement and for children to end; act; prove.

The control socket is its lifeline: EOF means that the supervisor is dead, and then the job is killed at once, and what
came of it is left on the disk for the next server.
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

from runner.codec import decode, encode
from supervisor.guardian import last_word
from supervisor.guardian.environment import COOKIE
from supervisor.guardian.handle import Identity
from supervisor.guardian.ladder import GRACE_AFTER_TERMINATE_S, Ladder, Step
from supervisor.guardian.launch import Launched, sweep_of
from supervisor.guardian.level import Plan
from supervisor.guardian.limits import LimitWatch
from supervisor.guardian.protocol import TO_GUARDIAN, Acknowledged, Ended, Hello, Limit, Mark, Signalled, Stop
from supervisor.guardian.resource_tracker import Tracker
from supervisor.guardian.runner_words import RunnerWords
from supervisor.guardian.sweep import LOOK_S, reap_children
from supervisor.guardian.sweep_pacing import SweepPacing

SEND_BOUND_S = 1.0
MAX_PIDS_REPORTED = 500


class Guardian:
    """Of one attempt. `run` returns when nothing of it is left."""

    def __init__(
        self, plan: Plan, control: socket.socket, acknowledge_fd: int, launched: Launched, tracker: Tracker
    ) -> None:
        self._plan = plan
        self._control = control
        self._control.settimeout(SEND_BOUND_S)
        self._runner_words = RunnerWords(acknowledge_fd)
        self._launched = launched
        self._tracker = tracker
        self._sweep = sweep_of(plan, launched, tracker.own_pids)
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
        self._lifeline = True
        self._orders = b""
        self._child_read, self._child_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._records_fd = None if plan.records is None else _open_folder(plan.records)

    def run(self) -> None:
        """Until the tree is empty. Reports the end, unless there is nobody left to hear it."""
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only wakes the poll below
        signal.set_wakeup_fd(self._child_write, warn_on_full_buffer=False)
        self._poller = select.poll()
        for fd in (self._control.fileno(), self._runner_words.fd, self._child_read):
            self._poller.register(fd, select.POLLIN)
        if self._launched.namespace is not None:
            self._poller.register(self._launched.namespace.report_fd, select.POLLIN)
        self._tell(Hello(os.getpid(), self._launched.runner_pid, self._launched.init_pid))
        while not self._is_empty():
            self._act()
            self._wait(self._timeout_ms())
        self._wait(0)  # a polite runner has acknowledged and ended before this process ran again
        self._tracker.end(self._child_read)
        # A child here would be a bug; a stranger in the cgroup, somebody's doing. Either is swept again.
        while not self._sweep.proven_empty():
            self._sweep.kill()
            time.sleep(LOOK_S)
        self._mark("gone")
        self._limits.check_counters()
        self._tell(
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
        if not self._lifeline:
            self._leave_last_word()

    def _leave_last_word(self) -> None:
        me = Identity.of(os.getpid())
        cookie = os.environ.get(COOKIE)
        if self._records_fd is None or cookie is None:
            return
        name = last_word.name_of(cookie, me.pid, me.start_ticks)
        # On a disk that fails the next server finds no word, and says that nothing is known: there is no one to tell.
        with contextlib.suppress(OSError):
            last_word.leave(self._records_fd, name, self._plan.proof, len(self._sweep.seen))

    def _is_empty(self) -> bool:
        reaped = reap_children()
        if self._tracker.pid in reaped:
            self._tracker.pid = None  # the job killed it; what it tracked is lost, containment is not
        if self._runner_gone_at is None:
            status = self._launched.runner_status(reaped)
            if status is not None:
                self._runner_ended(status)
        if self._runner_gone_at is None:
            return False
        return self._sweep.is_left_with(self._tracker.pid) and not self._sweep.orphans()

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
            elif fd == self._runner_words.fd:
                if not self._runner_words.hear(self._acknowledged, self._sweep.stop_command):
                    self._poller.unregister(fd)
            elif fd == self._control.fileno():
                self._read_orders()
            else:
                self._poller.unregister(fd)  # the runner has ended: the next look for what is left reads how

    def _timeout_ms(self) -> float | None:
        now = time.monotonic()
        if self._reached >= Step.KILL or not self._lifeline:
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
        try:
            data = self._control.recv(1 << 16)
        except ConnectionResetError:
            data = b""  # the supervisor died with words of ours unread
        if not data:
            self._lifeline = False
            self._poller.unregister(self._control.fileno())
            return
        *lines, self._orders = (self._orders + data).split(b"\n")
        for line in lines:
            match decode(TO_GUARDIAN, line):
                case Stop() as order:
                    self._stop(order)
                case Limit() as limit:
                    self._limits.set(limit, time.monotonic())
                case Mark(variables):
                    self._sweep.mark(variables)

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
            # The runner read the Event before this process read its order.
            self._acknowledged_early = True
            return
        self._mark("acknowledged")
        self._ladder = replace(self._ladder, acknowledged=True)
        self._tell(Acknowledged(self._ms["acknowledged"]))

    def _act(self) -> None:
        """Do what the time asks for: rounds of SIGTERM, then rounds of SIGKILL."""
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
        if leftovers_due or self._limits.reached is not None or not self._lifeline:
            return Step.KILL
        return self._reached if self._ladder is None else max(self._reached, min(self._ladder.step(now), Step.KILL))

    def _round(self, step: Step) -> None:
        known = len(self._sweep.seen)
        if step is Step.TERMINATE:
            self._report("SIGTERM", "terminated", self._sweep.terminate())
        else:
            pids = self._sweep.kill()
            if self._reached < Step.KILL and self._ladder is not None and self._launched.runner_pid in pids:
                self._leftovers = len(pids) - 1  # of a task that is done, if that is what is swept here
            self._report("SIGKILL", "killed", pids)
        self._rounds.made(time.monotonic(), newcomers=len(self._sweep.seen) > known)
        if step is Step.TERMINATE and self._ladder is not None:
            # Sampled again here: a tree may have grown since the cause was detected.
            self._ladder = replace(self._ladder, rss_bytes=self._sweep.rss_bytes())

    def _sample_due(self) -> float | None:
        # What a finished task left behind is ended soon, whatever it uses.
        return self._limits.next_due if self._runner_gone_at is None else None

    def _report(self, name: Literal["SIGTERM", "SIGKILL"], mark: str, pids: list[int]) -> None:
        if self._ladder is not None and pids and mark not in self._ms:
            self._mark(mark)
            self._tell(Signalled(name, pids[:MAX_PIDS_REPORTED], self._ms[mark]))

    def _mark(self, name: str) -> None:
        if self._ladder is not None:
            self._ms.setdefault(name, round((time.monotonic() - self._ladder.t0) * 1000, 1))

    def _tell(self, frame: object) -> None:
        if not self._lifeline:
            return
        try:
            self._control.sendall(encode(frame))
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self._lifeline = False


def _open_folder(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None  # the server says in /readyz what is wrong with the folder
