"""Scripts for jobs of the fake server: each describes what one job does."""

from __future__ import annotations

from tests.support.stage import Stage, cancellation


async def polite(stage: Stage) -> None:
    await stage.start()
    await stage.output("working\r\n")
    await stage.cancelled.wait()
    await stage.finish_cancelled()


async def until_forced(stage: Stage) -> None:
    await stage.start()
    await stage.output("working\r\n")
    await stage.cancelled.wait()
    await stage.emit("cancel.requested", reason="api", budget_s=2.0)
    await stage.forced.wait()
    record = cancellation(force=True, acknowledged_ms=None, killed_ms=400.0, gone_ms=410.0, method="sigkill")
    await stage.emit("cancel.signalled", signal="SIGKILL", pids=[1, 2], ms=400.0)
    await stage.emit("cancel.verified", **record)
    await stage.emit("job.cancelled", cancellation=record)


async def never(stage: Stage) -> None:
    await stage.start()
    await stage.output("working\r\n")
    await stage.cancelled.wait()
    await stage.emit("cancel.requested", reason="api", budget_s=2.0)


NASTY = "a\x1b]0;owned\x07b\x1b[2Jc\x9b31md\x00e\x7ff\x08g\rh\u0085i\tj\u202ek\u2066l\r\n"


async def nasty(stage: Stage) -> None:
    await stage.start()
    await stage.output(NASTY)
    await stage.output(NASTY, "stdout")
    await stage.output(NASTY, "stderr")
    await stage.emit("job.log", level="info", message=NASTY, fields={NASTY: NASTY})
    await stage.emit("job.phase", phase="tool", detail=NASTY)
    await stage.emit("job.failed", error={"kind": "raised", "message": NASTY, "traceback": NASTY})
