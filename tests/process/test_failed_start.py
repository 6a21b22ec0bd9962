"""If any step of the start fails, everything that was opened before it is closed, and the next start works."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from supervisor.config import load_settings
from supervisor.core.journal.journal import Journal
from supervisor.core.running.submission import Submitter
from supervisor.guardian.proc import children
from supervisor.node.levels.available import Containment
from supervisor.node.run_as import RunAs
from supervisor.node.storage.published_files import Files
from supervisor.node.workers.pool import WorkerPool
from supervisor.node.workers.starter import Starter
from supervisor.server import supervisor_of
from tests.support.core import running, scenario, until

STEPS = [
    (RunAs, "try_out"),
    (Journal, "open"),
    (Containment, "choose"),
    (Starter, "__init__"),
    (WorkerPool, "__init__"),
    (Submitter, "__init__"),
    (Submitter, "restore"),
    (Files, "keep_only"),
    (WorkerPool, "fill"),
]


@pytest.mark.parametrize(("part", "step"), STEPS, ids=[f"{part.__name__}.{step}" for part, step in STEPS])
def test_a_step_that_fails_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: type, step: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    async def body() -> None:
        async with running(tmp_path):
            pass  # what is made once for the whole process
        await until(lambda: not seen()[0])  # a thread ends a moment after it was asked to
        before = seen()
        with monkeypatch.context() as patch:
            patch.setattr(part, step, fail)
            with pytest.raises(OSError, match="No space left"):
                await supervisor_of(load_settings(state_dir=tmp_path)).__aenter__()
        await until(lambda: seen() == before)
        async with running(tmp_path):
            pass

    scenario(body)


def seen() -> tuple[set[str], int, int]:
    names = {thread.name for thread in threading.enumerate() if thread.name.startswith("deadstop")}
    return names, len(os.listdir("/proc/self/fd")), len(children(os.getpid()))
