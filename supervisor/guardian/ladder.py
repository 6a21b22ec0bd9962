"""The ladder: which step a stop has reached at a given moment. Pure: the caller passes the time.

Detection is t0. All figures below are for a budget of 2 s and scale with it:

    ask         0      the shared Event is set; the task unwinds by itself
    terminate   0.25   SIGTERM, if the runner has not acknowledged; else at 0.70; at once if the runner has ended
    kill        1.20   SIGKILL; earlier for a tree with much memory, because freeing that takes time
    backstop    1.60   the supervisor kills by itself: the guardian is stopped, dead or late
    verdict     1.85   a proof, or the survivors are named

The guardian takes the first three steps, the supervisor the last two.

A task that has reported its result cannot be asked any more: such a stop starts at terminate, and kill follows 0.5 s
later. Without a cause it starts RESULT_GRACE_S after the report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

REFERENCE_BUDGET_S = 2.0
TERMINATE_UNACKNOWLEDGED_S = 0.25
TERMINATE_S = 0.70
KILL_S = 1.20
BACKSTOP_S = 1.60
VERDICT_S = 1.85
GRACE_AFTER_TERMINATE_S = 0.50
"""The time from SIGTERM to SIGKILL if SIGTERM came early because the runner had ended."""
RESULT_GRACE_S = 0.50
"""How long a process may take to end by itself after it has reported the result of its task."""
GRACE_WHEN_VANISHED_S = 0.20
"""The end of a connection is noticed a second late, so the job is terminated at once and killed soon after."""
TEARDOWN_S_PER_GIB = 0.205
"""How long the kernel takes to free a killed process's memory."""

_GIB = 1024**3


class Step(IntEnum):
    """Ordered by severity: a stop only ever moves up."""

    ASK = 0
    TERMINATE = 1
    KILL = 2
    BACKSTOP = 3
    VERDICT = 4


@dataclass(frozen=True, slots=True)
class Ladder:
    """One stop. Times are absolute seconds on one monotonic clock.

    `after_result` means that the task has reported, and that its remaining processes are swept. `acknowledged` and
    `runner_gone_at` describe the runner; `rss_bytes` is the tree's memory. Create a new value with
    `dataclasses.replace` when something changes; the step for a given time can only rise by that.
    """

    t0: float
    budget_s: float
    force: bool = False
    vanished: bool = False
    after_result: bool = False
    acknowledged: bool = False
    runner_gone_at: float | None = None
    rss_bytes: int = 0

    def raised(
        self, t0: float, budget_s: float, *, force: bool = False, vanished: bool = False, after_result: bool = False
    ) -> Ladder:
        """Return this stop with a second one merged into it: no step of either comes later than it would alone."""
        return replace(
            self,
            t0=min(self.t0, t0),
            budget_s=min(self.budget_s, budget_s),
            force=self.force or force,
            vanished=self.vanished or vanished,
            after_result=self.after_result or after_result,
        )

    @property
    def scale(self) -> float:
        return self.budget_s / REFERENCE_BUDGET_S

    @property
    def terminate_at(self) -> float:
        if self.force or self.vanished:
            return self.t0
        if self.after_result:
            return self.t0 if self.runner_gone_at is None else min(self.t0, self.runner_gone_at)
        planned = self.t0 + (TERMINATE_S if self.acknowledged else TERMINATE_UNACKNOWLEDGED_S) * self.scale
        return planned if self.runner_gone_at is None else max(self.t0, min(planned, self.runner_gone_at))

    @property
    def kill_at(self) -> float:
        if self.force:
            return self.t0
        if self.vanished:
            return self.t0 + GRACE_WHEN_VANISHED_S * self.scale
        teardown_s = TEARDOWN_S_PER_GIB * self.rss_bytes / _GIB
        planned = min(self.t0 + KILL_S * self.scale, self.backstop_at - teardown_s)
        if self.runner_gone_at is not None or self.after_result:
            planned = min(planned, self.terminate_at + GRACE_AFTER_TERMINATE_S * self.scale)
        return max(planned, self.terminate_at)

    @property
    def backstop_at(self) -> float:
        return self.t0 + BACKSTOP_S * self.scale

    @property
    def verdict_at(self) -> float:
        return self.t0 + VERDICT_S * self.scale

    def step(self, now: float) -> Step:
        """Return the highest step that is due."""
        for step, due in self._dues():
            if now >= due:
                return step
        return Step.ASK

    def next_due(self, now: float) -> float | None:
        """Return the time of the next step, or None after the last one."""
        return min((due for _, due in self._dues() if due > now), default=None)

    def _dues(self) -> tuple[tuple[Step, float], ...]:
        return (
            (Step.VERDICT, self.verdict_at),
            (Step.BACKSTOP, self.backstop_at),
            (Step.KILL, self.kill_at),
            (Step.TERMINATE, self.terminate_at),
        )
