"""A job's output arrives whole, in order, and within bounds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from supervisor.core.jobs.event_log import MAX_BYTES, MAX_EVENTS, Event, Gap
from supervisor.core.jobs.model import State
from supervisor.core.journal.journal import MAX_BACKLOG_BYTES
from tests.support.core import cancel, ended, events, output, running, says, scenario, submit, types, until

PYTHON = sys.executable
MUCH = 40_000
"""Progress events: some seconds of reading."""

TASKS = '''
import os, sys, ctypes, subprocess, threading
from runner import Context, task

@task
def last_words(ctx: Context) -> None:
    """Write to both streams by every means, then die without cleaning up."""
    print("by print"); print("to stderr", file=sys.stderr)
    os.write(1, b"by os.write\\n"); subprocess.run(["echo", "by a child"])
    os._exit(7)

@task
def talks_much(ctx: Context, times: int) -> str:
    """More than is read while it runs, and then its result."""
    for number in range(times):
        ctx.progress(number + 1, times, "a word about it")
    return "the result"

@task
def sleeps_in_threads(ctx: Context) -> None:
    threads = [threading.Thread(target=ctx.sleep, args=(60,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    print("asleep", flush=True)
    for thread in threads:
        thread.join()

@task
def forged(ctx: Context, line: str, times: int = 1) -> dict:
    """Write onto the runner's own channel."""
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                data = line.encode() * times + b"\\n"
                while data:
                    data = data[os.write(int(fd), data):]
        except OSError:
            pass
    return {"alive": True}
'''


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    (tmp_path / "output_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    return ("output_tasks",)


def test_utf8_is_never_cut_in_two(tmp_path: Path) -> None:
    text = "aä漢😀" * 9_000  # longer than any single read

    async def body() -> None:
        async with running(tmp_path) as supervisor:
            for terminal in (True, False):
                command = f'{PYTHON} -c \'print("aä漢😀" * 9_000, end="")\''
                record = await ended(submit(supervisor, "shell", command=command, terminal=terminal))
                assert output(record) == text
                assert all(
                    len(item.data) <= 32 * 1024 for item in record.log.read(0, 1000) if not isinstance(item, Gap)
                )

    scenario(body)


def test_yes_is_bounded_and_cancelled_in_time(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            record = submit(supervisor, "shell", command="yes")
            await until(lambda: isinstance(next(iter(record.log.read(0, 1)), None), Gap))
            assert record.log.size_bytes <= MAX_BYTES + MAX_BACKLOG_BYTES
            cancel(supervisor, record)
            await ended(record, 3)
            assert record.job.state is State.CANCELLED
            assert types(record)[-2:] == ["cancel.verified", "job.cancelled"]
            await supervisor.journal.written()
            assert record.log.size_bytes <= MAX_BYTES
            assert len(record.log.read(0, 100_000)) <= MAX_EVENTS + 1

    scenario(body)


def test_a_result_is_read_however_much_was_reported_before(tmp_path: Path, tasks: tuple[str, ...]) -> None:
    async def main() -> None:
        async with running(tmp_path / "state", tasks=tasks) as supervisor:
            record = await ended(submit(supervisor, "talks_much", times=MUCH), 60)
            assert (record.job.state, record.job.result) == (State.SUCCEEDED, "the result"), record.job
            (last,) = [
                event for event in events(record)[-10:] if event["type"] == "job.progress" and event["done"] == MUCH
            ]
            assert last["message"] == "a word about it"

    scenario(main)


def test_threads_that_end_by_a_cancel_say_nothing(tmp_path: Path, tasks: tuple[str, ...]) -> None:
    async def main() -> None:
        async with running(tmp_path / "state", tasks=tasks) as supervisor:
            record = submit(supervisor, "sleeps_in_threads")
            await says(record, "asleep")
            cancel(supervisor, record)
            await ended(record)
            assert (record.job.state, output(record)) == (State.CANCELLED, "asleep\n")

    scenario(main)


def test_the_last_describe_exception_a_process_that_just_dies_are_heard(tmp_path: Path, tasks: tuple[str, ...]) -> None:
    async def body() -> None:
        async with running(tmp_path / "state", tasks=tasks) as supervisor:
            record = await ended(submit(supervisor, "last_words"))
            assert record.job.error is not None
            assert (record.job.error.kind, record.job.error.exit_code) == ("exited", 7)
            for words in ("by print", "to stderr", "by os.write", "by a child"):
                assert words in output(record)

    scenario(body)


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        '{"type":"output"}',
        '{"type":"hello","guardian_pid":1,"runner_pid":1}',
        "[" * 5000,
        "\x00",
        "x" * 1000,
    ],
    ids=["text", "fields missing", "somebody else's frame", "nested", "nul", "too long"],
)
def test_frames_that_a_job_forges_are_refused_and_nothing_breaks(
    tmp_path: Path, tasks: tuple[str, ...], line: str
) -> None:
    async def body() -> None:
        async with running(tmp_path / "state", tasks=tasks) as supervisor:
            record = await ended(submit(supervisor, "forged", line=line, times=6000 if len(line) == 1000 else 1))
            assert record.job.state is State.SUCCEEDED, record.job
            refused = [
                json.loads(item.data)
                for item in record.log.read(0, 1000)
                if isinstance(item, Event) and item.type == "job.log"
            ]
            assert refused[0]["message"] == "a frame of this job was refused"

    scenario(body)


def test_a_trap_runs_and_its_output_is_heard(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as supervisor:
            command = "trap 'rm lock; echo UNLOCKED; exit 0' TERM; touch lock; echo READY; while :; do sleep 0.1; done"
            record = submit(supervisor, "shell", command=command)
            await says(record, "READY")
            cancel(supervisor, record)
            await ended(record, 2)
            assert "UNLOCKED" in output(record).split("READY")[-1]
            assert record.job.cancellation is not None
            assert record.job.cancellation.method == "cooperative"

    scenario(body)
