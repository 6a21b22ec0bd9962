"""What a job has beside its processes, from its workspace to what it leaves: put away when the processes are gone."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from supervisor.core.jobs import resources as ledger
from supervisor.core.jobs.inputs import Gone
from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.node.storage.lane import Late
from supervisor.node.storage.state_dir import StateDir

LEAST_S = 0.1
MARGIN_S = 0.05
"""The disk may hold up the end of a cancelled job for LEAST_S, and up to MARGIN_S before the end of its budget."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Moved:
    """What came of it on the disk: whether there was a workspace, whether it is gone, and what to tell of the files."""

    existed: bool
    gone: bool
    problem: str = ""


class Artifacts:
    """Of one record. Belongs to its owner; what takes as long as the disk does is done on `disk`."""

    def __init__(self, record: LiveJob, state_dir: StateDir, budget_s: float) -> None:
        self._record = record
        self._workspaces = state_dir.workspaces
        self._files = state_dir.files
        self._disk = state_dir.disk
        self._budget_s = budget_s
        self.workspace = state_dir.workspaces.path(record.job.id)
        self.short_path = self.workspace
        """The same by a path that leaves room for the names of sockets, once it is prepared."""
        self._told_of_workspace = False

    async def prepare(self) -> str:
        """Wait until the job's workspace can be made, without a bound: while the disk does not answer, no job begins.

        Return why it cannot be made; empty: it can.
        """
        folder = self._workspaces.folder
        prepare = self._workspaces.prepare, self._record.job.id
        try:
            self.short_path, problem = await self._disk.call(*prepare, bound_s=None, key=folder.name, place=folder.name)
        except Late as exc:  # too many wait for the disk already
            problem = str(exc)
        return f"cannot make a workspace in {folder.name}: {problem}" if problem else ""

    def hold_workspace(self) -> None:
        """The runner has made the workspace."""
        self._told_of_workspace = True
        self._change("acquired", "directory", str(self.workspace))

    async def put_away_after(self, gone: Gone) -> Gone:
        """Put away what the job had, for no longer than its client can wait for the end. The proof with what came of
        it."""
        removed = await self.put_away(self._bound_s())
        if self._record.job.cancellation is not None and gone.gone_ms is None:
            gone = replace(gone, gone_ms=0.0)  # the cause came after the proof
        return replace(gone, workspace_removed=removed)

    async def put_away(self, bound_s: float) -> bool:
        """Nothing of the job runs any more: publish its files, remove its workspace, and close the ledger.

        True when the workspace is gone from its place. False also when the disk does not answer within `bound_s`: then
        it is done when the disk does.
        """
        publish = self._is_to_publish()
        moving = self._disk.later(self._move, publish, key=self._record.job.id, place=self._workspaces.folder.name)
        try:
            moved = await self._disk.answer(moving, bound_s)
        except Late as exc:
            log.error("workspace_not_removed", job_id=self._record.job.id, error=str(exc))
            moving.add_done_callback(self._moved_late)
            self._say("the disk of STATE_DIR does not answer: the workspace of this job is removed when it does")
            if publish:
                self._say("the disk of STATE_DIR does not answer: the files of this job come later, or not at all")
            return False
        self._tell(moved)
        return moved.gone

    def _bound_s(self) -> float:
        """How long the disk is waited for: half of the budget, a quarter of it once there is a cause, never longer than
        what is left of it; LEAST_S when it is known not to answer.
        """
        bound_s = LEAST_S if self._disk.problem else self._budget_s / 2
        cancellation, detected = self._record.job.cancellation, self._record.pulse.caused_at
        if cancellation is None or detected is None:
            return bound_s
        left_s = detected + cancellation.budget_s - MARGIN_S - time.monotonic()
        return max(LEAST_S, min(bound_s, self._budget_s / 4, left_s))

    # --- on a thread

    def _move(self, publish: bool) -> _Moved:
        job_id = self._record.job.id
        self._workspaces.folder.look()
        place = self._workspaces.find(job_id)
        problem = ""
        if publish and place is not None:
            try:
                self._files.publish(job_id, self.workspace.relative_to(self._workspaces.folder.path), place)
            except OSError as exc:
                log.error("files_not_published", job_id=job_id, error=str(exc))
                problem = f"cannot keep the files of this job: {self._files.folder.problem or exc.strerror}"
        elif publish:
            problem = "cannot keep the files of this job: its workspace had been removed before it ended"
        return _Moved(place is not None, self._workspaces.discard(job_id), problem)

    def _moved_late(self, moving: Future[_Moved]) -> None:
        if moving.cancelled() or moving.exception() is not None:
            log.error("workspace_not_removed", job_id=self._record.job.id, error=str(moving.exception()))
        else:
            log.info("workspace_put_away_late", job_id=self._record.job.id, removed=moving.result().gone)

    # --- on the loop

    def _is_to_publish(self) -> bool:
        record = self._record
        succeeded = (
            record.job.state is not State.CANCELLING and record.reported is not None and record.reported.error is None
        )
        return succeeded or record.job.request.keep_files

    def _tell(self, moved: _Moved) -> None:
        if moved.existed and not self._told_of_workspace:
            self.hold_workspace()  # of a job that came no further than that
        if moved.problem and self._told_of_workspace:
            self._say(moved.problem)
        if not moved.gone:
            self._say("cannot remove the workspace of this job now; the server tries it again")
        for entry in ledger.held(self._record.job.resources):
            if moved.gone or entry.name != str(self.workspace):
                self._change("removed", entry.kind, entry.name)

    def _say(self, message: str) -> None:
        self._record.log.append("job.log", {"level": "error", "message": message, "fields": {}})

    def _change(self, action: str, kind: str, name: str) -> None:
        record, now = self._record, datetime.now(UTC)
        change = ledger.acquired if action == "acquired" else ledger.removed
        resources = change(record.job.resources, kind, name, now)
        record.life = replace(record.life, job=replace(record.job, resources=resources))
        record.log.append("job.resource", {"action": action, "kind": kind, "name": name})
