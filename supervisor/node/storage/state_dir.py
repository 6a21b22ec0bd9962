"""The folders below STATE_DIR for what belongs to jobs: opened in a safe order, and watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from supervisor.engine.report import Loss
from supervisor.errors import StartupError, StorageFull
from supervisor.guardian.kernel_features import KernelFeatures
from supervisor.node.cleanup.attempt_records import AttemptRecords
from supervisor.node.cleanup.recovery import recover
from supervisor.node.inspect.looks import Looks
from supervisor.node.storage.folder import Folder
from supervisor.node.storage.lane import Lane, Late
from supervisor.node.storage.published_files import Files
from supervisor.node.storage.trash import CLOSE_TIMEOUT_S, Trash
from supervisor.node.storage.workspaces import Workspaces

EVERY_S = 1.0
CHECK_TIMEOUT_S = 2.0
DISCARD_TIMEOUT_S = 5.0


class StateDir:
    """`attempts`, `trash`, `workspaces` and `files`. The journal is a file beside them and is not managed here.

    Slow disk operations run on `disk` while the server runs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.disk = Lane("disk")
        self.records = AttemptRecords(folder / "attempts", self.disk.later)
        self.trash = Trash(folder / "trash")
        self.workspaces = Workspaces(folder, self.trash)
        self.files = Files(folder, self.trash)
        self.looks = Looks(self.files)
        self._late = ""
        self.losses: dict[str, Loss] = {}

    async def open(self, features: KernelFeatures, *, for_other_users: bool) -> int:
        """End the processes that an earlier server left, then remove its workspaces. Return the number of processes;
        `losses` then has what is known of its jobs, by ID.

        Raise StartupError if the folder cannot be used.
        """
        self.disk.start()
        self.looks.start()
        try:
            # Processes first, so that none writes to a workspace any more when it is removed.
            earlier = self.records.open()
            found = await asyncio.to_thread(recover, earlier, features)
            self.trash.open()
            self.workspaces.open(for_other_users=for_other_users)
            self.files.open()
        except OSError as exc:
            self.close()
            raise StartupError(f"cannot use state folder {self._folder}: {exc.strerror}") from exc
        self.losses = found.losses
        return found.count

    def sort_files(self, is_known: Callable[[str], bool] | None, aside: str) -> None:
        """Keep the files of known jobs. If the journal was `damaged`, and moved there, no job is known."""
        if is_known is not None:
            self.files.keep_only(is_known)
        else:
            self.files.set_aside(aside)

    async def watch(self) -> None:
        """Check the folders again and again, and repair what can be repaired. Never return."""
        looks: dict[Folder, Callable[[], object]] = {
            self.records.folder: self.records.look,
            self.workspaces.folder: self.workspaces.folder.look,
            self.files.folder: self.files.folder.look,
            self.trash.folder: self.trash.look,
        }
        while True:
            # Each check is queued with the other calls for its folder, because it may hang as well.
            waiting = [
                self.disk.call(look, timeout_s=CHECK_TIMEOUT_S, key=folder.name, place=folder.name)
                for folder, look in looks.items()
            ]
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            late = [folder.name for folder, answer in zip(looks, answers, strict=True) if _is_late(answer)]
            self._late = f"no answer: {', '.join(late)}" if late else ""
            await asyncio.sleep(EVERY_S)

    @property
    def problem(self) -> str:
        """The problems of the folders, without the path of STATE_DIR. Empty if there are none."""
        folders = (self.records.folder, self.trash.folder, self.workspaces.folder, self.files.folder)
        found = [f"{folder.name}: {folder.problem}" for folder in folders if folder.problem]
        return "; ".join([*filter(None, [self.disk.problem or self._late]), *found])

    def discard_files(self, job_id: str) -> Future[bool]:
        """Remove the files of a forgotten job, without waiting."""
        return self.disk.later(self.files.discard, job_id, key=job_id, place=self.files.folder.name)

    async def discarded(self, files: Future[bool]) -> None:
        """Wait for what `discard_files` has started. Raise StorageFull if it takes too long."""
        try:
            await self.disk.answer(files, DISCARD_TIMEOUT_S)
        except Late as exc:
            raise StorageFull(f"cannot remove the files of the job yet: {exc}") from None

    def close(self) -> None:
        """Wait, for a limited time, until the trash is empty."""
        self.trash.close()
        self.disk.later(self._close, key=self.records.folder.name, place=self.records.folder.name)
        self.disk.close(CLOSE_TIMEOUT_S)
        self.looks.close()

    def _close(self) -> None:
        self.records.close()
        self.workspaces.close()
        self.files.folder.close()


def _is_late(answer: object) -> bool:
    if isinstance(answer, BaseException) and not isinstance(answer, Late):
        raise answer
    return isinstance(answer, Late)
