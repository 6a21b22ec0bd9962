"""The interface that the live, the plain and the JSON view of `run` share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from deadstop.client.events import Event
from supervisor.cli.run.progress import JobProgress


class View(ABC):
    """Shows one job from its first event to its end. Only `show` and `finish` may wait."""

    tick_s = 0.25
    """How often `tick` is to be called, in seconds."""
    may_skip = False
    """Whether output may be left out once the user has asked to stop: a person does not read it, a program does."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @abstractmethod
    async def show(self, event: Event, progress: JobProgress) -> None:
        """Show an event that is already part of `progress`. Wait for a slow reader."""

    @abstractmethod
    def notice(self, text: str) -> None:
        """Show one line about the connection or about a request of the user."""

    @abstractmethod
    def hurry(self) -> None:
        """Stop waiting for slow readers: the user wants the job to stop."""

    @abstractmethod
    async def finish(self, progress: JobProgress) -> None:
        """Show how the job ended, and wait until everything is written."""

    def interrupted(self, progress: JobProgress) -> None:
        """Show that the user asked to stop, for the first or second time. The server has not answered yet."""
        del progress

    def tick(self, progress: JobProgress) -> None:
        """Show that time has passed."""
        del progress
