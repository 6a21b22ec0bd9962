"""Python stacks are taken from outside, even while a thread holds the GIL, and do not disturb the job."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import threading
from pathlib import Path

import pytest

from runner.protocol_stacks import STACK_SIGNAL_ANYHOW
from supervisor.core.jobs.event_log import Event
from supervisor.core.jobs.model import State
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.supervisor import Supervisor
from supervisor.errors import Conflict
from supervisor.node.inspect import native_stacks, stacks
from supervisor.node.inspect.stacks import NoStack
from tests.support.core import CALLER, cancel, ended, running, says, scenario, submit, until
from tests.support.observer import Handle

TASKS = ("tests.children.hung",)
HUNG = Path(__file__).parents[1] / "children" / "hung.py"


def line_of(mark: str) -> str:
    """Return how a stack names the line in hung.py that carries `mark`."""
    numbers = [n for n, line in enumerate(HUNG.read_text().splitlines(), 1) if line.endswith(f"# {mark}")]
    return f'hung.py", line {numbers[0]} in'


def runner_pid(record: LiveJob) -> int:
    lines = [json.loads(item.data) for item in record.log.read(0) if isinstance(item, Event)]
    pid: int = next(line["pid"] for line in lines if line["type"] == "job.running")
    return pid


async def stop(supervisor: Supervisor, record: LiveJob) -> None:
    cancel(supervisor, record, force=True)
    await ended(record)


async def hangs_at(supervisor: Supervisor, record: LiveJob, mark: str) -> str:
    """The first stack in which the main thread has come to the marked line: its last word comes a little earlier."""
    async with asyncio.timeout(5):
        while True:
            text = (await supervisor.stack(record.job.id, CALLER)).text or ""
            if line_of(mark) in "".join(text.splitlines()[1:2]):
                return text


@pytest.mark.parametrize("name", ["gil_hog", "c_sleep"])
def test_stacks_during_a_sleep_in_c_and_it_sleeps_on(tmp_path: Path, name: str) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=TASKS) as supervisor:
            record = submit(supervisor, name, seconds=2)
            await says(record, "HUNG")
            await hangs_at(supervisor, record, f"{name} hangs here")
            for _ in range(3):
                stack = await supervisor.stack(record.job.id, CALLER)
                assert stack.text is not None, stack.note
                assert line_of(f"{name} hangs here") in stack.text.splitlines()[1]
                assert "heartbeat.py" not in stack.text
            await ended(record)
            assert record.job.state is State.SUCCEEDED, record.job
            assert record.job.result["unslept_s"] == 0
            assert record.job.result["elapsed_s"] >= 1.99

    scenario(body)


def test_control_a_signal_to_the_process_cuts_the_sleep_short(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=TASKS) as supervisor:
            record = submit(supervisor, "c_sleep", seconds=5)
            await says(record, "HUNG")
            pid = runner_pid(record)
            # The sleep begins a few instructions after the word; a signal that comes earlier takes nothing away.
            await until(lambda: "nanosleep" in Path(f"/proc/{pid}/wchan").read_text() or _sleeps(pid))
            assert STACK_SIGNAL_ANYHOW is not None
            os.kill(pid, STACK_SIGNAL_ANYHOW)
            await ended(record)
            assert record.job.result["unslept_s"] > 0

    scenario(body)


def _sleeps(pid: int) -> bool:
    # 230 and 115 are clock_nanosleep on x86-64 and arm64.
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in {"230", "115"}


def test_two_hundred_stacks_of_code_that_never_rests(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=TASKS) as supervisor:
            record = submit(supervisor, "busy_python")
            await says(record, "HUNG")
            for _ in range(200):
                stack = await supervisor.stack(record.job.id, CALLER)
                assert stack.text is not None, stack.note
                assert "in busy_python" in stack.text or "_fall" in stack.text
            assert record.job.state is State.RUNNING
            await stop(supervisor, record)

    scenario(body)


def test_a_deadlock_shows_both_lines(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=TASKS) as supervisor:
            record = submit(supervisor, "deadlock")
            await says(record, "HUNG")
            text = await hangs_at(supervisor, record, "the main thread hangs here")
            main, other = text.strip().split("\n\n")
            assert line_of("the main thread hangs here") in main
            assert line_of("the other thread hangs here") in other
            await stop(supervisor, record)

    scenario(body)


def test_a_stopped_runner_gives_a_note_and_a_finished_job_a_conflict(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=TASKS) as supervisor:
            record = submit(supervisor, "stopped_self")
            await says(record, "HUNG")
            pid = runner_pid(record)
            handle = Handle.open(pid)
            assert handle is not None
            await until(lambda: handle.status() == "stopped")
            stack = await supervisor.stack(record.job.id, CALLER)
            os.close(handle.pidfd)
            assert (stack.text, stack.note) == (None, f"process {pid} is stopped")
            await stop(supervisor, record)
            with pytest.raises(Conflict, match="cancelled"):
                await supervisor.stack(record.job.id, CALLER)

    scenario(body)


def test_a_job_that_keeps_writing_into_its_stack_pipe_does_not_block_the_reader() -> None:
    read_end, write_end = os.pipe()

    def flood() -> None:
        with contextlib.suppress(BrokenPipeError):
            while True:
                os.write(write_end, b"x" * 65536)

    writer = threading.Thread(target=flood)
    writer.start()
    try:
        stacks._drain(read_end)  # returns
    finally:
        os.close(read_end)
        writer.join()
        os.close(write_end)


def test_native_frames_say_which_function_of_c_it_is_in(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, tasks=TASKS) as supervisor:
            record = submit(supervisor, "gil_hog", seconds=3)
            await says(record, "HUNG")
            await hangs_at(supervisor, record, "gil_hog hangs here")
            stack = await supervisor.stack(record.job.id, CALLER, native=True)
            assert stack.text is not None, stack.note
            first, _, others = stack.text.partition("\n\n")
            assert "nanosleep (libc" in first
            assert first.index("nanosleep (libc") < first.index(line_of("gil_hog hangs here"))
            assert "heartbeat" not in others
            await ended(record)
            assert (record.job.state, record.job.result["unslept_s"]) == (State.SUCCEEDED, 0)

    scenario(body)


def test_without_py_spy_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoStack, match=r"pip install 'deadstop\[native\]'"):
        native_stacks.take(os.getpid())


def test_py_spy_s_own_words_are_passed_on() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        with pytest.raises(NoStack, match=f"could not read process {process.pid}: .+"):
            native_stacks.take(process.pid)
    finally:
        process.kill()
        process.wait()
