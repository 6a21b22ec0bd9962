"""The output of a command that its task has not read yet."""

from __future__ import annotations

from collections import deque

MAX_UNREAD = 1024 * 1024
"""Characters of output that are kept for `read` and `wait_for`; beyond that the oldest are dropped."""


class Unread:
    """The newest MAX_UNREAD characters.

    Adding a piece costs nothing but its text, because most commands write much that is only shown.
    """

    def __init__(self) -> None:
        self._pieces: deque[str] = deque()
        self._length = 0

    def __bool__(self) -> bool:
        return self._length > 0

    def add(self, text: str) -> None:
        self._pieces.append(text)
        self._length += len(text)
        while self._length - len(self._pieces[0]) >= MAX_UNREAD:
            self._length -= len(self._pieces.popleft())

    def peek(self) -> str:
        whole = "".join(self._pieces)[-MAX_UNREAD:]
        self.replace(whole)
        return whole

    def take(self) -> str:
        whole = self.peek()
        self.replace("")
        return whole

    def replace(self, text: str) -> None:
        """Make `text` all that is unread."""
        self._pieces = deque([text] if text else [])
        self._length = len(text)
