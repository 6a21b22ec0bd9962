"""What a job has beside its processes, from its workspace to what it leaves: put away when the processes are gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import structlog

from supervisor.core import ledger
from supervisor.core.files import Files
from supervisor.core.model import State
from supervisor.core.registry import Record
from supervisor.core.workspaces import Workspaces

log = structlog.get_logger()


class Belongings:
    """Of one record. Belongs to its owner; nothing here takes longer than a few renames."""

    def __init__(self, record: Record, workspaces: Workspaces, files: Files) -> None:
        self._record = record
        self._workspaces = workspaces
        self._files = files
        self.workspace = workspaces.path(record.job.id)
        self._told_of_workspace = False

    def hold_workspace(self) -> None:
        """The runner has made the workspace."""
        self._told_of_workspace = True
        self._change("acquired", "directory", str(self.workspace))

    def put_away(self) -> bool:
        """Nothing of the job runs any more: publish its files, remove its workspace, and close the ledger.

        True when the workspace is gone from its place.
        """
        if not self._told_of_workspace and self.workspace.exists():
            self.hold_workspace()  # of a job that came no further than that
        self._publish()
        gone = self._workspaces.discard(self._record.job.id)
        for entry in ledger.held(self._record.job.resources):
            if gone or entry.name != str(self.workspace):
                self._change("removed", entry.kind, entry.name)
        return gone

    def _publish(self) -> None:
        record = self._record
        succeeded = (
            record.job.state is not State.CANCELLING and record.reported is not None and record.reported.error is None
        )
        if not succeeded and not record.job.request.keep_files:
            return
        try:
            self._files.publish(record.job.id, self.workspace)
        except OSError as exc:
            log.error("files_not_published", job_id=record.job.id, error=str(exc))
            message = f"cannot keep the files of this job: {exc.strerror}"
            record.log.append("job.log", {"level": "error", "message": message, "fields": {}})

    def _change(self, action: str, kind: str, name: str) -> None:
        record, now = self._record, datetime.now(UTC)
        change = ledger.acquired if action == "acquired" else ledger.removed
        resources = change(record.job.resources, kind, name, now)
        record.life = replace(record.life, job=replace(record.job, resources=resources))
        record.log.append("job.resource", {"action": action, "kind": kind, "name": name})
