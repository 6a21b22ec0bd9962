"""What `run` shows its user: the interface that the live, the plain and the JSON view share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from deadstop.client.events import Event
from supervisor.cli.run.progress import Story


class View(ABC):
    """Shows one job from its first event to its end. Nothing but `show` and `finish` may wait."""

    tick_s = 0.25
    """How often `tick` wants to be called, in seconds."""
    may_skip = False
    """Whether output may be left out once the user asked to stop: a person does not read it, a program does."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @abstractmethod
    async def show(self, event: Event, story: Story) -> None:
        """Show an event that `story` has already taken in. Waits for a reader who is slow."""

    @abstractmethod
    def notice(self, text: str) -> None:
        """Say something about the connection or about what the user asked, in one line."""

    @abstractmethod
    def hurry(self) -> None:
        """The user wants out: never wait for a slow reader again."""

    @abstractmethod
    async def finish(self, story: Story) -> None:
        """Show how it ended, and wait until everything is written."""

    def wished(self, story: Story) -> None:
        """The user asked to stop, for the first or second time; the server has not answered yet."""
        del story

    def tick(self, story: Story) -> None:
        """Time has passed."""
        del story
