"""Reading and checking what clients send, without holding up the event loop: what may take longer is done beside it."""

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
"""What checking an input may take on the event loop, in CPU time. An ordinary one takes a tenth of it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of checking an input: the module of its task, or why it is refused."""

    found: str | DeadstopError

    def module(self) -> str:
        """Raises InvalidRequest or NotReady."""
        if isinstance(self.found, DeadstopError):
            raise self.found
        return self.found


class Checking:
    """Belongs to the event loop. Use as a context manager, because it has a thread."""

    def __init__(self, catalog: Catalog, side: SideThread | None = None) -> None:
        self.catalog = catalog
        self._side = side or SideThread("deadstop-check")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._side.close()

    async def read(self, work: Callable[[], T], *, large: bool) -> T:
        """What the work returns or raises. Raises NotReady when too many large bodies wait."""
        return await self._side.run(work) if large else work()

    async def input(self, request: JobRequest, *, large: bool) -> Checked:
        """Whether the request's input fits its task."""
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
        """The same for a job of an earlier server, of which there may be thousands at once: each waits for its turn.

        Raises InvalidRequest.
        """
        return await self._side.run(lambda: self.catalog.check(request.task, request.input), patient=True)
