"""The folders below STATE_DIR that hold what belongs to jobs, opened in the order in which that is safe."""

from __future__ import annotations

import asyncio
from pathlib import Path

from supervisor.containment.attempt_records import AttemptRecords
from supervisor.containment.recovery import recover
from supervisor.core.files import Files
from supervisor.core.trash import Trash
from supervisor.core.workspaces import Workspaces
from supervisor.errors import StartupError
from supervisor.posix.means import Means


class StateDir:
    """`attempts`, `trash`, `workspaces` and `files`. The journal is a file beside them, with a life of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.records = AttemptRecords(folder / "attempts")
        self.trash = Trash(folder / "trash")
        self.workspaces = Workspaces(folder, self.trash)
        self.files = Files(folder, self.trash)

    async def open(self, means: Means, *, for_other_users: bool) -> int:
        """End what an earlier server left running, then put away what it left lying. How many processes that were.

        Raises StartupError when the folder cannot be used.
        """
        try:
            # Processes first, so that nobody writes to a workspace any more when it is put away.
            earlier = self.records.open()
            found = await asyncio.to_thread(recover, earlier, means)
            self.trash.open()
            self.workspaces.open(for_other_users=for_other_users)
            self.files.open()
        except OSError as exc:
            self.trash.close()
            raise StartupError(f"cannot use state folder {self._folder}: {exc.strerror}") from exc
        return found.count

    def close(self) -> None:
        """Wait, bounded, for the trash to be empty."""
        self.workspaces.close()
        self.trash.close()
        self.records.close()
