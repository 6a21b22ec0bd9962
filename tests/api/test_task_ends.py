"""However a task ends and whatever it says, the job's end is the task's own and tells why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ROOT, running_server

MODULES = "tests.children.odd_tasks,tests.children.forking_tasks,tests.children.odd_output"
BOUND_S = 30.0
MAX_EVENT_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class End:
    job: dict[str, Any]
    events: list[dict[str, Any]]
    longest_event: int

    @property
    def output(self) -> str:
        return "".join(event["text"] for event in self.events if event["type"] == "job.output")

    def of(self, type_: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == type_]


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, End]]:
    """All the tasks of the modules, run at the same time."""
    state = tmp_path_factory.mktemp("ends") / "state"
    with running_server(state, "--tasks", MODULES, "--max-running", "4", cwd=ROOT) as server:
        tasks = [task["name"] for task in server.http.get("/tasks").json()["tasks"]]
        built_in = {"agent", "browse", "demo", "shell"}
        ids = {
            task: server.http.post("/jobs", json={"task": task, "input": {}}).json()["id"]
            for task in tasks
            if task not in built_in
        }
        found: dict[str, End] = {}
        for task, job_id in ids.items():
            job = server.wait_finished(job_id, BOUND_S)
            answer = server.http.get(f"/jobs/{job_id}/events", params={"follow": "false"})
            stream = server.http.get(f"/jobs/{job_id}/events").text
            longest = max(len(line) for line in stream.splitlines())
            found[task] = End(job, answer.json()["events"], longest)
        yield found


RESULTS: list[tuple[str, object]] = [
    ("counts", [0, 1, 2]),
    ("holds_lazy_parts", {"lazy": ["1", "2"], "set": [1]}),
    ("yields", [1]),
    ("names", ["s", 1, "m", "x"]),
    ("wrapped", "awaited"),
    ("forks", "the child ended with 0"),
    ("forks_one_that_exits", "the child ended with 5"),
    ("forks_one_that_raises", "the child ended with 1"),
    ("forks_one_that_is_terminated", "the child ended with -15"),
    ("forks_a_pool", [3, 2, 1]),
    ("has_pythons_own_start_method", True),
    ("a_child_reports", "the child ended with 0"),
    ("says_no_text", "ok"),
    ("logs_anything", "ok"),
    ("logs_much", "ok"),
    ("prints_from_c", "ok"),
    ("has_a_thread_that_raises", "ok"),
    ("closes_its_stdout", "ok"),
    ("writes_no_text", "ok"),
]


@pytest.mark.parametrize(("task", "result"), RESULTS)
def test_a_result_is_what_the_task_returned(ends: dict[str, End], task: str, result: object) -> None:
    job = ends[task].job
    assert (job["state"], job["result"], job["leftovers"]) == ("succeeded", result, 0), job


FAILURES: list[tuple[str, str, str, int | None]] = [
    ("raises_while_counting", "raised", "KeyError: 'inside'", None),
    ("too_long_a_number", "protocol", "cannot use what the task returned: ", None),
    ("contains_itself", "protocol", "cannot use what the task returned: Circular reference", None),
    ("no_text", "protocol", "cannot use what the task returned: ", None),
    ("speechless", "raised", "Speechless: (its message cannot be shown: RuntimeError)", None),
    ("raises_no_text", "raised", r"ValueError: name\udcff", None),
    ("fails_with_no_text", "raised", r"name\udcff", None),
    ("no_such_kind", "raised", "ValueError: cannot fail with kind 'broken' (cannot go on: the disk is full)", None),
    ("says_nothing", "raised", "ValueError", None),
    ("holds_what_nobody_knows", "raised", "ValueError: cannot hold '8080' as 'socket': use one of terminal, ", None),
    ("much_to_say", "raised", "ValueError: \N{GRINNING FACE}", None),
    ("exits", "exited", "the task called sys.exit('cannot go on')", 1),
    ("interrupts_itself", "raised", "KeyboardInterrupt", None),
    ("cancels_itself", "raised", "JobCancelled: by itself", None),
    ("fails_in_a_group", "exited", "cannot pack: no space", 7),
    ("several", "raised", "BaseExceptionGroup: both (2 sub-exceptions)", None),
    ("leaves_without_a_word", "exited", "the job's process ended with exit code 0 and no result", 0),
    ("becomes_another_program", "exited", "the job's process ended with exit code 0 and no result", 0),
    ("reads_its_stdin", "raised", "EOFError: ", None),
]


@pytest.mark.parametrize(("task", "kind", "message", "exit_code"), FAILURES)
def test_a_failure_says_why(ends: dict[str, End], task: str, kind: str, message: str, exit_code: int | None) -> None:
    job = ends[task].job
    assert job["state"] == "failed", job
    error = job["error"]
    assert (error["kind"], error["exit_code"]) == (kind, exit_code)
    assert error["message"].startswith(message)


def test_every_task_of_the_modules_was_asked_for(ends: dict[str, End]) -> None:
    assert {values[0] for values in (*RESULTS, *FAILURES)} == set(ends)


def test_no_event_is_longer_than_promised(ends: dict[str, End]) -> None:
    assert {task: end.longest_event for task, end in ends.items() if end.longest_event > MAX_EVENT_BYTES} == {}


def test_output_that_is_not_text_is_shown(ends: dict[str, End]) -> None:
    end = ends["says_no_text"]
    shown = r"name\udcff"
    assert [event["message"] for event in end.of("job.progress")] == [shown]
    assert next(event["detail"] for event in end.of("job.phase")) == shown
    assert [(event["message"], event["fields"]) for event in end.of("job.log")] == [(shown, {"field": "name?"})]
    assert end.output.startswith(shown + "\n")
    assert Path(end.job["resources"][1]["name"]).name == shown


def test_log_fields_that_are_not_json_are_logged(ends: dict[str, End]) -> None:
    (event,) = ends["logs_anything"].of("job.log")
    assert event["message"] == "an exception"
    assert event["fields"] == {"raw": r"b'\xff'", "itself": "[[...]]", "nan": None, "kept": {"a": [1]}}


def test_what_is_printed_is_heard(ends: dict[str, End]) -> None:
    assert ends["prints_from_c"].output == "by puts\n"
    assert ends["closes_its_stdout"].output == "before\n"
    assert ends["becomes_another_program"].output == "another program\n"
    assert ends["writes_no_text"].output == "\x00\ufffd\r\nwithout an end"
    assert ends["has_a_thread_that_raises"].output.endswith("ValueError: in a thread\n")
    assert ends["forks_one_that_raises"].output.rstrip().endswith("ValueError: in the child")
    assert ends["forks_a_pool"].output == ends["names"].output == ends["wrapped"].output == ""


def test_a_process_that_was_forked_speaks_for_the_job(ends: dict[str, End]) -> None:
    assert [event["message"] for event in ends["a_child_reports"].of("job.progress")] == ["from the child"]
