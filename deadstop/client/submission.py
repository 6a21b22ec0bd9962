"""A request to run a task, as a client makes it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

Json = Any


@dataclass(frozen=True, slots=True)
class Submission:
    """A job to be created. We choose the ID, so that a submit can be repeated and a cancel can overtake it."""

    task: str
    input: dict[str, Json]
    id: str
    timeout_s: float | None = None
    labels: dict[str, str] | None = None

    def with_input(self, input_: dict[str, Json]) -> Submission:
        return replace(self, input=input_)

    def body(self) -> dict[str, Json]:
        body: dict[str, Json] = {"id": self.id, "task": self.task, "input": self.input}
        if self.timeout_s is not None:
            body["timeout_s"] = self.timeout_s
        if self.labels:
            body["labels"] = self.labels
        return body


def new_id() -> str:
    """Return a job ID that nothing else makes. It starts with a letter, so that no command takes it for an option."""
    return f"j{secrets.token_hex(7)}"
