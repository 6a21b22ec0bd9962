"""The map of user ids for a namespace in which every id is itself."""

from __future__ import annotations

import pytest

from supervisor.guardian.user_namespace import identical


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("         0          0 4294967295\n", "0 0 4294967295\n"),
        ("0 1000 1\n1 100000 65536\n", "0 0 1\n1 1 65536\n"),
        ("", ""),
    ],
)
def test_every_id_that_exists_is_itself(here: str, there: str) -> None:
    assert identical(here) == there
