"""Parse and check clients' requests without blocking the event loop: long work is done in a thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

from supervisor.core.jobs.model import JobRequest
from supervisor.core.tasks.catalog import Catalog
from supervisor.core.tasks.pace import TooCostly
from supervisor.core.tasks.side_thread import SideThread
from supervisor.errors import DeadstopError

ON_THE_LOOP_S = 0.005
"""CPU time limit for checking an input on the event loop. An ordinary one takes a tenth of it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of checking an input: the module of its task, or the error."""

    found: str | DeadstopError

    def module(self) -> str:
        """Return the module. Raise InvalidRequest or NotReady if the check failed."""
        if isinstance(self.found, DeadstopError):
            raise self.found
        return self.found


class Checking:
    """Only for use on the event loop. Use as a context manager, because it has a thread."""

    def __init__(self, catalog: Catalog, side: SideThread | None = None) -> None:
        self.catalog = catalog
        self._side = side or SideThread("deadstop-check")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._side.close()

    async def read(self, work: Callable[[], T], *, large: bool) -> T:
        """Run the work, in the thread if `large`, and return its result. Raise NotReady if too many wait."""
        return await self._side.run(work) if large else work()

    async def input(self, request: JobRequest, *, large: bool) -> Checked:
        """Check whether the request's input fits its task."""
        try:
            if not large:
                try:
                    return Checked(self.catalog.check(request.task, request.input, allowance_s=ON_THE_LOOP_S))
                except TooCostly:
                    pass
            return Checked(await self._side.run(lambda: self.catalog.check(request.task, request.input)))
        except DeadstopError as exc:
            return Checked(exc)

    async def again(self, request: JobRequest) -> str:
        """Do the same for a job of an earlier server. There may be thousands of them, so each waits for its turn.

        Raise InvalidRequest if the input does not fit.
        """
        return await self._side.run(lambda: self.catalog.check(request.task, request.input), patient=True)
