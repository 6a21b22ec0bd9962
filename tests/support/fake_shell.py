"""The shell task on the fake engine: the few commands that tests of the API are about, and no process.

`true`, `false`, `exit N`, `echo WORDS`, `sleep S`, `yes LINE | head -c BYTES`, and `trap '' TERM` for a command that is
to be killed; one after the other, separated by `;`. The demo task counts its steps. Everything else is an error.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from supervisor.engine.report import Acknowledged, JobError, OutputReport, PhaseReport, Signalled, TaskReported
from supervisor.engine.stop import Stop
from tests.support.fake_engine import FakeAttempt

KILLED_AFTER_S = 1.0
PIECE_BYTES = 16 * 1024
STEP = re.compile(r"(true|false|:)|exit (\d+)|echo (.*)|sleep ([0-9.]+)|yes (\S+) \| head -c (\d+)|trap '' TERM.*")


class FakeShell(FakeAttempt):
    """An attempt that runs one command. A stop ends it at once. If it ignores SIGTERM, it ends later, or by force."""

    deaf = False
    _running: asyncio.Task[None] | None = None

    def begin(self) -> None:
        if self.stops:
            return  # it was stopped in the same turn of the loop
        self._running = asyncio.create_task(self._run(), name=f"fake {self.order.job_id}")

    async def _run(self) -> None:
        self.runs()
        self.report(PhaseReport("tool"))
        self.report(await self._came_to(self.order.input))
        self.prove(workspace_removed=True)

    async def _came_to(self, values: Mapping[str, Any]) -> TaskReported:
        if self.order.task == "demo":
            return TaskReported({"steps": values.get("steps")})
        try:
            code = await self._shell(values.get("command", "true"))
        except NotImplementedError as exc:
            return TaskReported(error=JobError("raised", f"the fake shell has no {exc}"))
        if code == 0:
            return TaskReported({"exit_code": 0})
        return TaskReported(error=JobError("exited", f"the command ended with exit code {code}", exit_code=code))

    async def _shell(self, command: str) -> int:
        code = 0
        for step in re.split(r"\s*;\s*", command):
            found = STEP.fullmatch(step)
            if found is None:
                raise NotImplementedError(step)
            word, exit_code, said, seconds, line, size = found.groups()
            code = int(word == "false")
            if exit_code is not None:
                return int(exit_code)
            if said is not None:
                self.report(OutputReport("terminal", (f"{said}\r\n",)))
            elif seconds is not None:
                await asyncio.sleep(float(seconds))
            elif line is not None:
                await self._much(f"{line}\r\n", int(size))
            self.deaf = self.deaf or step.startswith("trap")
        return code

    async def _much(self, line: str, size_bytes: int) -> None:
        piece = line * (PIECE_BYTES // len(line))
        for _ in range(0, size_bytes, len(piece)):
            self.report(OutputReport("terminal", (piece,)))
            await asyncio.sleep(0)

    def stop(self, stop: Stop) -> None:
        super().stop(stop)
        if self._running is not None:
            self._running.cancel()
        if self.proof.done():
            return
        if not self.deaf:
            self.report(Acknowledged(1.0))
            self.prove(gone_ms=2.0, acknowledged_ms=1.0, workspace_removed=True)
        elif stop.force:
            self._kill()
        else:
            self.report(Acknowledged(1.0), Signalled("SIGTERM", {"pids": [1]}, 2.0))
            asyncio.get_running_loop().call_later(KILLED_AFTER_S, self._kill)

    def _kill(self) -> None:
        if not self.proof.done():
            self.report(Signalled("SIGKILL", {"pids": [1]}, 3.0))
            self.prove(gone_ms=4.0, killed_ms=3.0, workspace_removed=True)
