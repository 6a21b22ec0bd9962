"""The artifacts of a job on the disk: its workspace, and the files that it leaves for people."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass

import structlog

from supervisor.engine.order import Order
from supervisor.node.storage.lane import Late
from supervisor.node.storage.state_dir import StateDir

LEAST_S = 0.1
MARGIN_S = 0.05
"""The disk may delay the end of a cancelled job for LEAST_S, and up to MARGIN_S before the end of its budget."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PutAway:
    """The result on the disk: whether there was a workspace, whether it is gone, and problems with the files."""

    existed: bool
    gone: bool
    problems: tuple[str, ...] = ()


class Artifacts:
    """The artifacts of one attempt. Slow disk operations run on the disk's own threads."""

    def __init__(self, order: Order, state_dir: StateDir) -> None:
        self._job_id = order.job_id
        self._workspaces = state_dir.workspaces
        self._files = state_dir.files
        self._disk = state_dir.disk
        self._budget_s = order.budget_s
        self.workspace = state_dir.workspaces.path(order.job_id)
        self.short_path = self.workspace
        """A path of the workspace that leaves room for the names of sockets, once it is prepared."""

    async def prepare(self) -> str:
        """Wait until the job's workspace can be created, without a timeout: while the disk does not answer, no job
        starts.

        Return why it cannot be created; an empty text means that it can.
        """
        folder = self._workspaces.folder
        prepare = self._workspaces.prepare, self._job_id
        try:
            self.short_path, problem = await self._disk.call(
                *prepare, timeout_s=None, key=folder.name, place=folder.name
            )
        except Late as exc:  # too many wait for the disk already
            problem = str(exc)
        return f"cannot make a workspace in {folder.name}: {problem}" if problem else ""

    async def put_away(self, *, publish: bool, due_at: float | None) -> PutAway:
        """Publish the files and remove the workspace of a job of which nothing runs any more.

        `due_at` is the moment by which a waiting client is to know of the end, on the monotonic clock. If the disk does
        not answer before, the workspace is not gone, and is removed when the disk does.
        """
        moving = self._disk.later(self._move, publish, key=self._job_id, place=self._workspaces.folder.name)
        try:
            return await self._disk.answer(moving, self._patience_s(due_at))
        except Late as exc:
            log.error("workspace_not_removed", job_id=self._job_id, error=str(exc))
            moving.add_done_callback(self._moved_late)
            problems = [
                "the disk of DEADSTOP_STATE_DIR does not answer: the workspace of this job is removed when it does"
            ]
            if publish:
                problems += [
                    "the disk of DEADSTOP_STATE_DIR does not answer: the files of this job come later, or not at all"
                ]
            return PutAway(existed=False, gone=False, problems=tuple(problems))

    def _patience_s(self, due_at: float | None) -> float:
        """Return how long to wait for the disk: half of the budget, a quarter of it once there is a cause, but never
        longer than the rest of the budget. Return LEAST_S if the disk is known not to answer.
        """
        patience_s = LEAST_S if self._disk.problem else self._budget_s / 2
        if due_at is None:
            return patience_s
        left_s = due_at - MARGIN_S - time.monotonic()
        return max(LEAST_S, min(patience_s, self._budget_s / 4, left_s))

    # --- on a thread

    def _move(self, publish: bool) -> PutAway:
        self._workspaces.folder.look()
        place = self._workspaces.find(self._job_id)
        problem = ""
        if publish and place is not None:
            try:
                self._files.publish(self._job_id, self.workspace.relative_to(self._workspaces.folder.path), place)
            except OSError as exc:
                log.error("files_not_published", job_id=self._job_id, error=str(exc))
                problem = f"cannot keep the files of this job: {self._files.folder.problem or exc.strerror}"
        elif publish:
            problem = "cannot keep the files of this job: its workspace had been removed before it ended"
        gone = self._workspaces.discard(self._job_id)
        left = "" if gone else "cannot remove the workspace of this job now; the server tries it again"
        return PutAway(place is not None, gone, tuple(filter(None, (problem, left))))

    def _moved_late(self, moving: Future[PutAway]) -> None:
        if moving.cancelled() or moving.exception() is not None:
            log.error("workspace_not_removed", job_id=self._job_id, error=str(moving.exception()))
        else:
            log.info("workspace_put_away_late", job_id=self._job_id, removed=moving.result().gone)
