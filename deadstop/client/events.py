"""A job's states, and its events from the text of a stream of server-sent events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

ACTIVE_STATES = ("queued", "starting", "running", "cancelling")
FINAL_STATES = ("succeeded", "failed", "cancelled", "timed_out", "lost")
TERMINAL_TYPES = frozenset(f"job.{state}" for state in FINAL_STATES)
"""The event of a final state is always a job's last."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `id` is its number in the job's sequence, None outside of it (`stream.gap`, `stream.closing`)."""

    type: str
    id: int | None
    data: dict[str, Any]

    @property
    def terminal(self) -> bool:
        return self.type in TERMINAL_TYPES

    @property
    def at(self) -> datetime | None:
        try:
            return datetime.fromisoformat(self.data["at"])
        except (KeyError, TypeError, ValueError):
            return None


class EventDecoder:
    """Turns the text of a stream into events. The text may be cut anywhere.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """

    def __init__(self) -> None:
        self._unfinished: list[str] = []
        self._type = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, text: str) -> list[Event]:
        """Return the events that are complete with `text`. Raise ValueError if the data of one is not a JSON object."""
        self._unfinished.append(text)
        if "\n" not in text and "\r" not in text:
            return []
        text = "".join(self._unfinished)
        # A CR at the end may be the first half of CR LF.
        held_back = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
        *lines, rest = text.split("\n")
        self._unfinished = [rest + held_back]
        events = (self._take(line) for line in lines)
        return [event for event in events if event is not None]

    def _take(self, line: str) -> Event | None:
        if not line:
            type_, data, self._type, self._data = self._type, self._data, "", []
            return parse_event(type_, "\n".join(data), self._id)
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case _:
                pass  # a comment, or a field without a meaning for us
        return None


def parse_event(type_: str, data: str, id_: str) -> Event | None:
    """Return None for heartbeats and empty frames. Raise ValueError if `data` is not a JSON object."""
    if type_ == "heartbeat" or not data:
        return None
    fields = json.loads(data)
    if not isinstance(fields, dict):
        raise ValueError(f"event {type_} is not a JSON object")
    # The last ID also counts for frames without one of their own; numbered events have it in their data, too.
    number = fields.get("id")
    return Event(type_, number if isinstance(number, int) and str(number) == id_ else None, fields)
