"""Which level a job gets, and that nothing asked for by name is replaced silently."""

from __future__ import annotations

import pickle

import pytest

from supervisor.config import CONTAINMENT_LEVELS
from supervisor.engine.containment import Level, Levels, LevelUnavailable
from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.plan import Mechanism, Plan
from supervisor.node.levels.describe import status_of

ALL: dict[Level, str] = {}
NO_CGROUP = {Level.CGROUP: "no cgroup2 is mounted"}
ONLY_GROUPS = {level: "not on this system" for level in Level if level is not Level.PGROUP}


@pytest.mark.parametrize(
    ("why_not", "chosen"), [(ALL, Level.CGROUP), (NO_CGROUP, Level.SUBREAPER), (ONLY_GROUPS, Level.PGROUP)]
)
def test_auto_takes_the_strongest_that_changes_nothing_for_the_job(why_not: dict[Level, str], chosen: Level) -> None:
    levels = Levels.choose("auto", why_not)
    assert levels.default is levels.for_job(None) is levels.for_job("auto") is chosen


@pytest.mark.parametrize("level", Level)
def test_a_level_by_name(level: Level) -> None:
    assert Levels.choose(level, ALL).default is level
    assert Levels.choose("auto", ALL).for_job(level) is level


def test_a_level_that_is_not_there_is_refused_with_the_reason_and_what_there_is() -> None:
    with pytest.raises(LevelUnavailable, match=r"^level cgroup is not .* no cgroup2 is mounted; use one of auto, pgr"):
        Levels.choose("cgroup", NO_CGROUP)
    with pytest.raises(LevelUnavailable, match="no cgroup2 is mounted"):
        Levels.choose("pidns", NO_CGROUP).for_job("cgroup")


def test_a_machine_without_any_level_is_refused() -> None:
    with pytest.raises(LevelUnavailable, match="pgroup: broken"):
        Levels.choose("auto", dict.fromkeys(Level, "broken"))


@pytest.mark.parametrize("default", Level)
def test_the_status_gives_a_reason_for_every_level_that_is_not_active(default: Level) -> None:
    status = status_of(Levels(default, {}))
    assert status.level is default
    assert set(status.why_not) == set(Level) - {default}
    assert all(status.why_not.values())
    assert status.not_covered
    assert status_of(Levels(Level.SUBREAPER, NO_CGROUP)).why_not[Level.CGROUP] == NO_CGROUP[Level.CGROUP]


def test_the_status_lists_what_is_covered_what_is_not_and_why_not_more() -> None:
    covers, not_covered, *more = status_of(Levels(Level.SUBREAPER, NO_CGROUP)).lines()
    assert covers.startswith("containment subreaper covers processes in other sessions")
    assert "fork storms" in not_covered
    assert more == [
        "more would be cgroup: no cgroup2 is mounted",
        "more would be pidns: available when a job or the setting DEADSTOP_CONTAINMENT asks for it",
    ]
    assert len(list(status_of(Levels(Level.PIDNS, ALL)).lines())) == 2


def test_settings_and_levels_have_the_same_names() -> None:
    assert ("auto", *Level) == CONTAINMENT_LEVELS


def test_a_plan_can_be_sent_to_a_guardian() -> None:
    plan = Plan(Mechanism.TREE, AttemptCgroup("/sys/fs/cgroup/x"))
    assert pickle.loads(pickle.dumps(plan)) == plan
