"""The `demo` task: a few seconds of everything that a job can show, to try cancelling it."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Annotated, Any

from pydantic import Field

from runner.context import Context
from runner.loading import task

_TREE = "sh -c 'sleep 60 & sh -c \"sleep 60 & sleep 60\" & wait' & wait"
"""Three levels of processes, which would outlive a plain kill of the root."""


@task
def demo(
    ctx: Context,
    seconds: Annotated[float, Field(gt=0, le=3600, description="How long the work takes.")] = 6.0,
    steps: Annotated[int, Field(ge=1, le=10_000)] = 12,
) -> dict[str, Any]:
    """Phases, output, files and a process tree for a few seconds: start it, then cancel it."""
    ctx.phase("startup", "starting a process tree")
    tree = subprocess.Popen(["/bin/sh", "-c", _TREE], start_new_session=True)
    with ctx.holding("process", "tree of sleepers"):
        try:
            written = _work(ctx, seconds, steps)
        finally:
            ctx.phase("cleanup", "ending the process tree")
            os.killpg(tree.pid, signal.SIGTERM)
            tree.wait(timeout=1)
    return {"steps": steps, "file": written}


def _work(ctx: Context, seconds: float, steps: int) -> str:
    ctx.phase("tool", "writing a report")
    ctx.out.mkdir(exist_ok=True)
    with ctx.open_atomic(ctx.out / "report.txt") as report:
        for step in range(1, steps + 1):
            ctx.sleep(seconds / steps)
            report.write(f"step {step}\n")
            print(f"step {step} of {steps}", flush=True)
            ctx.progress(step, steps, f"step {step}")
    ctx.log("report written", path="out/report.txt", lines=steps)
    return "out/report.txt"
