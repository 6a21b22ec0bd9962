"""Checking an input costs little, whatever client and author choose, and agrees with what the task itself takes."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from runner import Context, TaskFailed, task
from runner.loading import Task
from supervisor.core.jobs.model import JobRequest
from supervisor.core.tasks import patterns
from supervisor.core.tasks.catalog import Catalog
from supervisor.core.tasks.checking import Checking
from supervisor.core.tasks.side_thread import SideThread
from supervisor.errors import InvalidRequest, NotReady
from tests.support.built_in_tasks import module_description

Name = Annotated[str, Field(pattern=r"^[a-z]+$")]


class Left(TypedDict, total=False):
    a: Left | Right
    end: int


class Right(TypedDict, total=False):
    a: Right | Left
    end: str


class Lookahead(BaseModel):
    model_config = ConfigDict(regex_engine="python-re")
    word: Annotated[str, Field(pattern=r"^(?=x)")]


@task
def bounded(
    ctx: Context,
    name: Name | None = None,
    letters: Annotated[str, Field(pattern=r"^\p{L}+$")] | None = None,
    doubling: Annotated[str, Field(pattern=r"^([a-z]+,?)+$")] | None = None,
    counted: Annotated[str, Field(pattern=r"^(\p{L}{1,100}.?)+$")] | None = None,
    by_name: dict[Name, int] | None = None,
    words: list[str] | None = None,
    numbers: set[int] | None = None,
    color: Literal["red", "green"] | None = None,
    tree: Left | Right | None = None,
    ahead: Lookahead | None = None,
) -> None: ...


TASK: Task = bounded.__deadstop_task__  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    made = Catalog((__name__,))
    made.add(module_description(__name__, [TASK.describe()]))
    assert made.errors == {}
    return made


def refused(catalog: Catalog, **values: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        catalog.check("bounded", values)
    return {error.field: error.message for error in caught.value.errors}


def nested(depth: int, end: Any) -> dict[str, Any]:
    tree: dict[str, Any] = {"end": end}
    for _ in range(depth):
        tree = {"a": tree}
    return tree


@pytest.mark.parametrize(
    ("field", "value", "good"),
    [
        ("name", "abc", True),
        ("name", "abc\n", False),  # Python's `$` also fits before a last line end
        ("name", "", False),
        ("letters", "äß", True),  # Python does not know \p
        ("letters", "a1", False),
        ("doubling", "a," * 40, True),
        ("doubling", "a" * 40 + "!", False),  # Python needs hours
        ("by_name", {"ab": 1}, True),
        ("by_name", {"ab": "x"}, False),
        ("ahead", {"word": "xy"}, True),
        ("color", "red", True),
        ("color", "blue", False),
        ("numbers", [1, 2], True),
    ],
)
def test_server_and_task_agree(catalog: Catalog, field: str, value: Any, good: bool) -> None:
    if good:
        assert catalog.check("bounded", {field: value}) == __name__
        TASK.bind({field: value})
        return
    assert all(name.startswith(f"input.{field}") for name in refused(catalog, **{field: value}))
    with pytest.raises(TaskFailed, match=f"input.{field}"):
        TASK.bind({field: value})


def test_a_pattern_that_only_python_knows_is_left_to_the_task(catalog: Catalog) -> None:
    assert catalog.check("bounded", {"ahead": {"word": "no"}}) == __name__
    with pytest.raises(TaskFailed, match=r"input\.ahead\.word"):
        TASK.bind({"ahead": {"word": "no"}})


def test_a_task_whose_pattern_no_engine_takes_is_none() -> None:
    """The runner meets it at import, so the server never has to check it."""
    with pytest.raises(Exception, match="look-around"):

        @task
        def never(ctx: Context, word: Annotated[str, Field(pattern=r"^(?=x)")]) -> None: ...


@pytest.mark.parametrize("length", [1_000, patterns.MAX_COUNTED_TEXT + 1])
def test_a_long_text_is_not_matched_where_it_is_slow(catalog: Catalog, length: int) -> None:
    values = {"counted": "é" * length}
    if length > patterns.MAX_COUNTED_TEXT:
        assert "too long" in refused(catalog, **values)["input.counted"]
    else:
        assert catalog.check("bounded", values) == __name__
    assert catalog.check("bounded", {"name": "a" * (1 << 20)}) == __name__  # the control: this pattern is quick


def test_the_first_errors_are_named(catalog: Catalog) -> None:
    found = refused(catalog, words=[1] * 50_000)
    assert "must be string, not 1" in found["input.words.0"]
    assert len(found) <= 21
    assert len(str(found)) < 4_000


def test_many_unknown_fields_are_a_short_answer(catalog: Catalog) -> None:
    found = refused(catalog, **{f"f{i}": 1 for i in range(40_000)})
    assert "is not a field of this task" in found["input.f0"]
    assert len(found) <= 21


def test_what_must_be_unique_is_looked_at_once(catalog: Catalog) -> None:
    """jsonschema compares each with each when they cannot be sorted."""
    mixed: list[Any] = [i if i % 2 else {"a": i} for i in range(20_000)]
    assert "twice" not in str(refused(catalog, numbers=mixed))
    assert "twice" in str(refused(catalog, numbers=[1, 2, 1]))
    assert "twice" not in str(refused(catalog, numbers=[1, True]))


def test_alternatives_in_alternatives_are_given_up(catalog: Catalog) -> None:
    """Each level tries two ways: at depth 60 that is never done."""
    assert catalog.check("bounded", {"tree": nested(6, 1)}) == __name__
    assert "takes too long" in refused(catalog, tree=nested(60, 1.5))["input"]


def test_a_schema_that_leads_nowhere_refuses_its_own_task_only(catalog: Catalog) -> None:
    own = Catalog((__name__,))
    for name, broken in (("lost", {"$ref": "http://127.0.0.1:9/x"}), ("endless", {"$ref": "#"})):
        own.add(module_description(__name__, [replace(TASK.describe(), name=name, input_schema=broken)]))
        with pytest.raises(InvalidRequest, match=r"leads nowhere|nested deeper"):
            own.check(name, {})


@pytest.mark.parametrize("pattern", [r"^\p{L}+$", "^[a-z]+$"])
def test_a_pattern_of_pydantics_makes_a_valid_schema(pattern: str) -> None:
    own = Catalog((__name__,))
    schema = {"properties": {"x": {"type": "string", "pattern": pattern}}}
    own.add(module_description(__name__, [replace(TASK.describe(), input_schema=schema)]))
    assert own.errors == {}


def test_what_takes_long_is_checked_beside_the_loop(catalog: Catalog) -> None:
    """The small one on the loop, the costly one on the side thread, both with the same answers."""
    threads: list[str] = []

    class Watched(SideThread):
        async def run(self, work: Any, *, patient: bool = False) -> Any:
            def watched() -> Any:
                threads.append(threading.current_thread().name)
                return work()

            return await super().run(watched, patient=patient)

    async def ask() -> None:
        side = Watched("side")
        try:
            checking = Checking(catalog, side)
            small, costly = (JobRequest("bounded", values) for values in ({"name": "a"}, {"words": ["x"] * 50_000}))
            assert (await checking.input(small, large=False)).module() == __name__
            assert threads == []
            assert (await checking.input(costly, large=False)).module() == __name__
            assert (await checking.input(small, large=True)).module() == __name__
            assert await checking.again(small) == __name__
            assert len(threads) == 3
            assert all(name.startswith("side") for name in threads)
            refusal = await checking.input(JobRequest("bounded", {"name": 3}), large=True)
            with pytest.raises(InvalidRequest, match=r"input\.name"):
                refusal.module()
        finally:
            side.close()

    asyncio.run(ask())


def test_not_everything_may_wait_for_the_side_thread() -> None:
    async def ask() -> None:
        side = SideThread("side", max_waiting=2)
        hold, begun = threading.Event(), threading.Event()

        def held() -> int:
            begun.set()
            assert hold.wait(20)
            return 1

        try:
            first = [asyncio.create_task(side.run(held)) for _ in range(2)]
            await asyncio.to_thread(begun.wait, 20)
            with pytest.raises(NotReady):
                await side.run(int)
            patient = asyncio.create_task(side.run(int, patient=True))
            hold.set()
            assert await asyncio.gather(*first, patient) == [1, 1, 0]
            assert await side.run(int) == 0
        finally:
            hold.set()
            side.close()

    asyncio.run(ask())
