"""The mutation suite changes modules that exist, and runs tests that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.targets import TARGETS, Target

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_each_target_and_its_tests_exist(target: Target) -> None:
    assert (ROOT / target.found(ROOT)).is_file()
    assert [test for test in target.tests if not (ROOT / test).is_file()] == []


@pytest.mark.parametrize("module", ["no_such_module.py", "__init__.py"])
def test_a_module_that_is_missing_or_ambiguous_is_rejected(module: str) -> None:
    with pytest.raises(LookupError, match="found"):
        Target(module, ()).found(ROOT)
