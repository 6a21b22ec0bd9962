"""The `shell` task: any command, in a real terminal unless told otherwise."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from runner.context import Context
from runner.errors import TaskFailed
from runner.loading import task

_EITHER = {
    "oneOf": [
        {"required": ["command"], "properties": {"command": {"type": "string"}}},
        {"required": ["argv"], "properties": {"argv": {"type": "array"}}},
    ],
}

NoNul = Annotated[str, Field(pattern="^[^\\x00]*$")]
VariableName = Annotated[str, Field(pattern="^[^=\\x00]+$")]


@task(json_schema_extra=_EITHER)
def shell(
    ctx: Context,
    command: Annotated[NoNul, Field(min_length=1, description="Run by bash, or sh where there is none.")] | None = None,
    argv: Annotated[list[NoNul], Field(min_length=1, description="Run as it is, without a shell.")] | None = None,
    terminal: Annotated[bool, Field(description="A pseudo-terminal; false gives pipes.")] = True,
    env: Annotated[dict[VariableName, NoNul], Field(description="More variables for the command.")] | None = None,
    cwd: Annotated[str, Field(pattern="^/[^\\x00]*$", description="Absolute; default is the workspace.")] | None = None,
    stdin: Annotated[Literal["closed"], Field(description="Nothing is typed; with pipes it is empty.")] = "closed",
) -> dict[str, Any]:
    """Run a command and stream what it writes.

    Exit code 0 is success. On cancel the command's process group gets SIGTERM, so that `trap` runs.
    """
    del stdin  # one value so far
    words = argv if argv is not None else [_shell(), "-c", command or ""]
    ctx.phase("tool", (command or " ".join(words))[:200])
    with ctx.terminal(words, pty=terminal, cwd=cwd, env=env) as running:
        status = running.run()
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        raise TaskFailed("signalled", f"the command was ended by {name}", signal=name)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise TaskFailed("exited", f"the command ended with exit code {code}", exit_code=code)
    return {"exit_code": 0}


def _shell() -> str:
    return "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"
