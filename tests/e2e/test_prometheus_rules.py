"""The rules and alerts as Prometheus reads them, by its own tool: Debian's package prometheus brings promtool."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.api.test_metrics import CONTRACT

OPS = Path(__file__).parents[2] / "ops"
RECORDED = re.compile(r"\bdeadstop:[a-z0-9_:]+")
MEASURED = re.compile(r"\bdeadstop_[a-z0-9_]+")


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=OPS, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.suite
@pytest.mark.parametrize("file", ["recording.yml", "alerts.yml"])
def test_prometheus_takes_the_rules(file: str) -> None:
    assert "SUCCESS" in promtool("check", "rules", file)


@pytest.mark.suite
def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


@pytest.mark.parametrize("file", ["recording.yml", "alerts.yml", "grafana.json"])
def test_the_rules_use_only_metrics_that_exist(file: str) -> None:
    text = (OPS / file).read_text()
    if file == "grafana.json":
        json.loads(text)
    families = {re.sub(r"_bucket$", "", name) for name in CONTRACT}
    asked = {re.sub(r"_(bucket|count|sum)$", "", name) for name in MEASURED.findall(text)}
    assert asked <= families, asked - families
    recorded = set(re.findall(r"record: (deadstop:\S+)", (OPS / "recording.yml").read_text()))
    assert set(RECORDED.findall(text)) <= recorded


def test_every_metric_is_on_the_dashboard() -> None:
    text = (OPS / "grafana.json").read_text()
    names = {re.sub(r"_bucket$", "", name) for name in CONTRACT}
    assert not {name for name in names if name not in text}
