"""Inputs are refused in terms of their fields, before anything starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runner import Context, task
from runner.loading import find_tasks
from runner.tasks import agent, browse, demo, shell
from supervisor.core.tasks.catalog import Catalog, built_in
from supervisor.engine.order import ModuleDescription
from supervisor.errors import InvalidRequest, NotReady
from tests.support import built_in_tasks
from tests.support.built_in_tasks import module_description


@task
def thumbnails(ctx: Context, folder: str, width: int = 320, tags: list[str] | None = None) -> dict[str, Any]:
    """Make thumbnails.

    More words that are not the description.
    """
    return {}


def described(module: Any) -> ModuleDescription:
    return module_description(module.__name__, [found.describe() for found in find_tasks(module).values()])


@pytest.fixture
def catalog() -> Catalog:
    made = Catalog((__name__,))
    made.add(described(shell))
    made.add(described(agent))
    made.add(described(browse))
    made.add(described(demo))
    made.add(module_description(__name__, [thumbnails.__deadstop_task__.describe()]))  # type: ignore[attr-defined]
    return made


def refused(catalog: Catalog, name: str, values: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        catalog.check(name, values)
    return {error.field: error.message for error in caught.value.errors}


def test_the_signature_is_the_schema(catalog: Catalog) -> None:
    described = {found.name: found for found in catalog.tasks()}
    assert list(described) == ["agent", "browse", "demo", "shell", "thumbnails"]
    assert described["thumbnails"].description == "Make thumbnails."
    assert described["thumbnails"].input_schema["required"] == ["folder"]
    assert described["thumbnails"].input_schema["additionalProperties"] is False


def test_good_input_finds_its_module(catalog: Catalog) -> None:
    assert catalog.check("thumbnails", {"folder": "a", "width": 5, "tags": ["x"]}) == __name__
    assert catalog.check("shell", {"command": "true"}) == "runner.tasks.shell"
    assert catalog.check("shell", {"argv": ["true"], "terminal": False}) == "runner.tasks.shell"


@pytest.mark.parametrize(
    ("values", "field", "says"),
    [
        ({}, "input.folder", "is required"),
        ({"folder": "a", "width": "3"}, "input.width", 'must be integer, not "3"'),
        ({"folder": "a", "width": True}, "input.width", "must be integer, not true"),
        ({"folder": "a", "width": 1.5}, "input.width", "must be integer, not 1.5"),
        ({"folder": "a", "height": 3}, "input.height", "is not a field of this task"),
        ({"folder": 3}, "input.folder", "must be string, not 3"),
        ({"folder": "a", "tags": ["x", 3]}, "input.tags.1", "must be string, not 3"),
        ({"folder": "a", "tags": "x"}, "input.tags", 'must be array or null, not "x"'),
    ],
)
def test_bad_input_names_the_field(catalog: Catalog, values: dict[str, Any], field: str, says: str) -> None:
    assert says in refused(catalog, "thumbnails", values)[field]


@pytest.mark.parametrize(
    ("values", "field", "says"),
    [
        ({}, "input.command", "exactly one of command, argv"),
        ({"command": "a", "argv": ["b"]}, "input.command", "exactly one of command, argv"),
        ({"command": ""}, "input.command", "non-empty"),
        ({"argv": []}, "input.argv", ""),
        ({"command": "a\0b"}, "input.command", ""),
        ({"command": "a", "cwd": "relative"}, "input.cwd", ""),
        ({"command": "a", "env": {"": "x"}}, "input.env", "'' does not match"),
        ({"command": "a", "env": {"A=B": "x"}}, "input.env", "'A=B' does not match"),
        ({"command": 3}, "input.command", "must be string"),
    ],
)
def test_bad_shell_input_names_the_field(catalog: Catalog, values: dict[str, Any], field: str, says: str) -> None:
    assert says in refused(catalog, "shell", values)[field]


def test_an_unknown_task_is_named_with_those_there_are(catalog: Catalog) -> None:
    assert "demo, shell, thumbnails" in refused(catalog, "thumbnail", {})["task"]


def test_the_built_in_tasks_are_known_before_any_child_describes_them() -> None:
    assert built_in() == built_in_tasks.described(), "run `python -m tests.support.built_in_tasks`"
    catalog = Catalog(())
    assert [task.name for task in catalog.tasks()] == ["agent", "browse", "demo", "shell"]
    assert catalog.described.is_set()
    assert catalog.modules == ("runner.tasks.shell",)  # what the self-test starts
    with pytest.raises(InvalidRequest):
        Catalog((), switched_off=("shell",)).check("shell", {"command": "true"})


@pytest.mark.parametrize("name", ["agent", "browse", "demo", "shell"])
def test_a_built_in_task_that_is_switched_off_exists(name: str) -> None:
    assert Catalog((), switched_off=(name,)).errors == {}
    missing = Catalog((), switched_off=(name, "misspelt")).errors
    assert missing == {"DEADSTOP_TASKS_OFF": "there is no task 'misspelt'"}


def test_a_task_that_may_still_come_is_not_unknown() -> None:
    catalog = Catalog(("mine",))
    assert catalog.check("shell", {"command": "true"}) == "runner.tasks.shell"
    with pytest.raises(NotReady):
        catalog.check("mine", {})
    with pytest.raises(NotReady):
        catalog.tasks()
    catalog.add(ModuleDescription("mine", error="its import took too long"))
    assert "no task 'mine'" in refused(catalog, "mine", {})["task"]
    assert catalog.errors == {"mine": "its import took too long"}


def test_two_modules_cannot_own_one_name(catalog: Catalog) -> None:
    same = [found.describe() for found in find_tasks(demo).values()]
    catalog.add(module_description("borrows", same))
    assert "borrows" not in catalog.errors  # it imports the task from there
    catalog.add(module_description("other", [replace(found, origin="other:demo") for found in same]))
    assert "already defined in runner.tasks.demo" in catalog.errors["other"]
