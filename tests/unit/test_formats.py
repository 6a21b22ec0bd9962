"""A value that is not a valid date, address or the like is refused with its field, as the task would refuse it."""

from __future__ import annotations

import datetime
import ipaddress
import uuid
from typing import Annotated, Any

import pytest
from pydantic import AnyUrl, Field, HttpUrl

from runner import Context, TaskFailed, task
from runner.loading import Task
from supervisor.core.tasks.catalog import Catalog
from supervisor.errors import InvalidRequest
from tests.support.built_in_tasks import module_description


@task
def formats(
    ctx: Context,
    when: datetime.datetime | None = None,
    day: datetime.date | None = None,
    at: datetime.time | None = None,
    span: datetime.timedelta | None = None,
    ident: uuid.UUID | None = None,
    page: HttpUrl | None = None,
    address: AnyUrl | None = None,
    host: ipaddress.IPv4Address | None = None,
    host6: ipaddress.IPv6Address | None = None,
    net: ipaddress.IPv4Network | None = None,
    net6: ipaddress.IPv6Network | None = None,
    days: Annotated[list[datetime.date], Field(max_length=3)] | None = None,
) -> None: ...


TASK: Task = formats.__deadstop_task__  # type: ignore[attr-defined]

CASES: list[tuple[str, Any, Any, str]] = [
    ("when", "2026-01-31T12:00:00Z", "yesterday", "is no date-time: "),
    ("when", "2026-01-31 12:00", "2026-01-31T25:00:00Z", "is no date-time: "),
    ("day", "2026-01-31", "2026-13-01", "is no date: "),
    ("at", "23:59", "25:00", "is no time: "),
    ("span", "P1DT2H", "soon", "is no duration: "),
    ("ident", "12345678-1234-5678-1234-567812345678", "nobody", "is no uuid: "),
    ("page", "https://example.com", "example", "is no uri: "),
    ("address", "ftp://x/y", "", "is no uri: "),
    ("host", "10.0.0.1", "10.0.0.256", "is no ipv4: "),
    ("host6", "::1", "::g", "is no ipv6: "),
    ("net", "10.0.0.0/8", "10.0.0.0/33", "is no ipv4network: "),
    ("net6", "fe80::/10", "fe80::/129", "is no ipv6network: "),
    ("when", None, 5, "must be string or null, not 5"),
]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    made = Catalog((__name__,))
    made.add(module_description(__name__, [TASK.describe()]))
    return made


@pytest.mark.parametrize(("field", "good", "bad", "words"), CASES)
def test_server_and_task_agree(catalog: Catalog, field: str, good: Any, bad: Any, words: str) -> None:
    assert catalog.check("formats", {field: good}) == __name__
    TASK.bind({field: good})
    with pytest.raises(InvalidRequest) as caught:
        catalog.check("formats", {field: bad})
    (error,) = caught.value.errors
    assert error.field == f"input.{field}"
    assert error.message.startswith(words)
    with pytest.raises(TaskFailed, match=f"input.{field}"):
        TASK.bind({field: bad})


def test_inside_of_lists(catalog: Catalog) -> None:
    with pytest.raises(InvalidRequest) as caught:
        catalog.check("formats", {"days": ["2026-01-31", "never"]})
    assert [error.field for error in caught.value.errors] == ["input.days.1"]
