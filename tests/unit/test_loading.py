"""Loading tasks: which functions can be tasks, and the schema of their input."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import Field

from runner import Context, TaskFailed, task
from runner.loading import Task

if TYPE_CHECKING:
    from pathlib import Path as Nowhere


def made(function: Callable[..., Any]) -> Task:
    found: Task = task(function).__deadstop_task__  # type: ignore[attr-defined]
    return found


def test_the_types_of_context_and_result_need_not_exist() -> None:
    def look(ctx: Nowhere, name: str) -> Nowhere:
        return ctx / name

    assert made(look).bind({"name": "x"}) == {"name": "x"}


@pytest.mark.filterwarnings("error")
def test_parameters_may_have_any_name() -> None:
    def odd(
        ctx: Context,
        schema: str,
        copy: int = 1,
        _hidden: bool = False,
        model_config: str = "m",
        class_: Annotated[str, Field(alias="class")] = "c",
    ) -> None: ...

    values = {"schema": "s", "copy": 2, "_hidden": True, "model_config": "x", "class": "y"}
    schema = made(odd).describe().input_schema
    assert list(schema["properties"]) == list(values)
    assert schema["required"] == ["schema"]
    assert made(odd).bind(values) == {"schema": "s", "copy": 2, "_hidden": True, "model_config": "x", "class_": "y"}
    with pytest.raises(TaskFailed, match=r"input\.schema: "):
        made(odd).bind({})


async def yields(ctx: Context) -> AsyncIterator[int]:
    yield 1


def untyped(ctx: Context, x) -> None: ...  # type: ignore[no-untyped-def]


def several(ctx: Context, *names: str) -> None: ...


def positional(ctx: Context, name: str, /) -> None: ...


def by_keyword(*, ctx: Context) -> None: ...


def without() -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (yields, "an async generator has no result"),
        (untyped, "parameter x needs a type hint"),
        (several, "has no name in a JSON object"),
        (positional, "has no name in a JSON object"),
        (by_keyword, "its first parameter must take the Context"),
        (without, "its first parameter must take the Context"),
    ],
)
def test_the_error_says_why_a_function_cannot_be_a_task(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(TypeError, match=rf"cannot make {function.__name__} a task: .*{words}"):
        task(function)
