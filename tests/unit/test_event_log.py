from __future__ import annotations

import asyncio
import json

import pytest

from supervisor.core.jobs.event_log import Event, EventLog, Gap


def filled(count: int, **bounds: int) -> EventLog:
    log = EventLog("j", **bounds)  # type: ignore[arg-type]
    for number in range(count):
        log.append("job.output", {"text": str(number)})
    return log


def ids(items: list[Event | Gap]) -> list[object]:
    return [item.id if isinstance(item, Event) else (item.first, item.last) for item in items]


def test_numbers_start_at_one_and_have_no_holes() -> None:
    assert ids(filled(4).read(0)) == [1, 2, 3, 4]


def test_data_is_one_line_of_ascii_with_the_fixed_fields_first() -> None:
    log = EventLog("j")
    data = log.append("job.output", {"text": "ä\n\u2028\U0001f600"}).data
    assert "\n" not in data
    assert data.isascii()
    assert list(json.loads(data)) == ["id", "job_id", "type", "at", "text"]
    assert json.loads(data)["text"] == "ä\n\u2028\U0001f600"
    assert json.loads(data)["at"].endswith("Z")


def test_reading_goes_on_after_any_number() -> None:
    log = filled(5)
    assert ids(log.read(3)) == [4, 5]
    assert ids(log.read(5)) == []
    assert ids(log.read(99)) == []
    assert ids(log.read(0, limit=2)) == [1, 2]


def test_the_oldest_go_first_and_leave_a_gap() -> None:
    log = filled(10, max_events=4)
    assert ids(log.read(0)) == [(1, 6), 7, 8, 9, 10]
    assert ids(log.read(6)) == [7, 8, 9, 10]
    assert ids(log.read(4)) == [(5, 6), 7, 8, 9, 10]


def test_bytes_are_bounded_too() -> None:
    log = filled(1000, max_bytes=2000)
    assert log.size_bytes <= 2000
    assert ids(log.read(0))[-1] == 1000


def test_what_is_written_nowhere_else_stays() -> None:
    log = EventLog("j", max_events=4, gated=True)
    for _ in range(10):
        log.append("job.output", {})
    log.release(9)
    assert ids(log.read(0)) == list(range(1, 10))
    log.written(3)
    assert ids(log.read(0)) == [(1, 3), 4, 5, 6, 7, 8, 9]
    log.written(10)
    log.release(10)
    assert ids(log.read(0)) == [(1, 6), 7, 8, 9, 10]


def test_nothing_can_follow_the_terminal_event() -> None:
    log = filled(1)
    log.close()
    with pytest.raises(RuntimeError, match="terminal"):
        log.append("job.output", {})


def test_readers_are_woken_by_events_and_by_the_end() -> None:
    async def scenario() -> tuple[bool, bool]:
        log = EventLog("j")
        first = asyncio.create_task(log.wait_beyond(0))
        await asyncio.sleep(0)
        log.append("job.queued", {})
        second = asyncio.create_task(log.wait_beyond(1))
        await asyncio.sleep(0)
        log.close()
        return await first, await second

    assert asyncio.run(asyncio.wait_for(scenario(), 5)) == (True, False)


@pytest.mark.parametrize(
    "result", [[1, {"a": None}, "x\ny"], {"a": [1.5, True]}, ["é"], {"\u2028": 1}, "x", 7, None, [], {}]
)
def test_a_result_is_one_line_of_ascii_json(result: object) -> None:
    log = EventLog("j")
    data = log.append("job.succeeded", {"result": result}).data
    assert data.isascii()
    assert "\n" not in data
    assert json.loads(data)["result"] == result
    assert json.loads(data)["job_id"] == "j"
