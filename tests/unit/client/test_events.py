"""Events are parsed from the text of a stream, however the text is cut."""

from __future__ import annotations

import pytest

from deadstop.client.events import Event, EventDecoder, parse_event

QUEUED = Event("job.queued", 1, {"id": 1, "text": "a: b"})
GAP = Event("stream.gap", None, {"from": 2, "to": 9})
ENDED = Event("job.succeeded", 10, {"id": 10, "text": "\u2028 \x85 ü"})
STREAM = [
    ": a comment",
    "",
    "event: job.queued",
    "id: 1",
    'data: {"id": 1,',
    'data: "text": "a: b"}',
    "",
    "retry: 1000",
    "event:stream.gap",
    'data:{"from": 2, "to": 9}',
    "",
    "event: heartbeat",
    "data: {}",
    "",
    "unknown",
    "event: job.succeeded",
    "id: 10",
    'data: {"id": 10, "text": "\u2028 \x85 ü"}',
    "",
    "event: job.unfinished",
    'data: {"id": 11}',
    "",
]


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
def test_events_are_the_same_however_the_text_is_cut(newline: str) -> None:
    text = newline.join(STREAM)
    for at in range(len(text)):
        decoder = EventDecoder()
        assert decoder.feed(text[:at]) + decoder.feed(text[at:]) == [QUEUED, GAP, ENDED], at
    decoder = EventDecoder()
    assert [event for char in text for event in decoder.feed(char)] == [QUEUED, GAP, ENDED]


def test_an_event_is_there_with_its_empty_line() -> None:
    decoder = EventDecoder()
    assert decoder.feed('event: job.queued\nid: 1\ndata: {"id": 1}\n') == []
    assert decoder.feed("\n") == [Event("job.queued", 1, {"id": 1})]
    assert decoder.feed("\n\n") == []


@pytest.mark.parametrize("data", ["[1]", "{", "1"])
def test_data_that_is_not_an_object_is_an_error(data: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # JSON's own errors are among them
        EventDecoder().feed(f"event: job.queued\ndata: {data}\n\n")


def test_events_outside_the_numbering_have_no_number() -> None:
    # SSE carries the last id over to frames without one, so the frame's own data decides.
    gap = parse_event("stream.gap", '{"type": "stream.gap", "from": 2, "to": 9}', "1")
    event = parse_event("job.queued", '{"id": 1, "type": "job.queued"}', "1")
    assert gap is not None
    assert event is not None
    assert (gap.id, event.id) == (None, 1)
    assert parse_event("heartbeat", "{}", "") is None
    with pytest.raises(ValueError, match="not a JSON object"):
        parse_event("job.queued", "[]", "1")
