"""The tasks in the pages of docs/ are run exactly as printed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ROOT, RunningServer, running_server

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"@task\n(?:async )?def (\w+)")

RUNS: dict[str, tuple[dict[str, Any], object]] = {
    "thumbnails": ({"folder": "/tmp"}, None),
    "headline": ({"url": "data:text/html,<h1>News</h1>"}, "News"),
    "lines": ({"folder": "FOLDER/a"}, 2),
    "served": ({}, "answered"),
    "calculator": ({"sums": ["6*7", "'ä' * 3", "2**64"]}, ["42", "'äää'", "18446744073709551616"]),
    "sizes": ({}, ["24 80", "50 132"]),
    "ask": ({"question": "Who?", "stdin": "open"}, "me"),
    "everywhere": (
        {"command": r"printf '\033[31mred\033[0m '; cat 1", "folders": ["FOLDER/a", "FOLDER/b"]},
        {
            "FOLDER/a": "ended with exit code 0: red one\ntwo",
            "FOLDER/b": "ended with exit code 1: red cat: 1: No such file or directory",
        },
    ),
}
"""Each task: its input and its result."""
TYPED = {"ask": "me\n"}


def blocks() -> dict[str, str]:
    found = (block for page in PAGES for block in BLOCK.findall(page.read_text(encoding="utf-8")))
    return {match[1]: block for block in found if (match := NAME.search(block))}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("docs")
    for name, block in blocks().items():
        (folder / f"docs_{name}.py").write_text(block, encoding="utf-8")
    tasks = ",".join(f"docs_{name}" for name in blocks())
    with running_server(folder / "state", "--tasks", tasks, env={"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}) as made:
        yield made


def test_each_is_tried() -> None:
    assert set(blocks()) == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_it_does_what_the_page_says(server: RunningServer, tmp_path: Path, name: str) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / "1").write_text("one\ntwo\n", encoding="utf-8")
    values, result = in_folder(RUNS[name], tmp_path)
    answer = server.http.post("/jobs", json={"task": name, "input": values})
    assert answer.status_code == 202, answer.text
    if name in TYPED:
        assert server.http.post(f"/jobs/{answer.json()['id']}/input", json={"text": TYPED[name]}).status_code == 202
    job = server.wait_finished(answer.json()["id"], 30)
    assert (job["state"], job["result"]) == ("succeeded", result), job


def in_folder(value: Any, folder: Path) -> Any:
    """Replace `FOLDER` in texts by the test's own folder."""
    match value:
        case str():
            return value.replace("FOLDER", str(folder))
        case list() | tuple():
            return [in_folder(item, folder) for item in value]
        case dict():
            return {in_folder(key, folder): in_folder(item, folder) for key, item in value.items()}
        case _:
            return value
