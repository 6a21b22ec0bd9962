"""The `shell` task: any command, in a terminal by default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from runner.context import Context
from runner.loading import task

_EITHER = {
    "oneOf": [
        {"required": ["command"], "properties": {"command": {"type": "string"}}},
        {"required": ["argv"], "properties": {"argv": {"type": "array"}}},
    ],
}

_STDIN = "open: POST /jobs/{id}/input types into it. closed: it is empty, and there is no /dev/tty."

NoNul = Annotated[str, Field(pattern="^[^\\x00]*$")]
_VARIABLE = "^[^=\\x00]+$"
VariableName = Annotated[str, Field(pattern=_VARIABLE)]
_NAMES: dict[str, Any] = {"propertyNames": {"pattern": _VARIABLE}}
"""The schema that pydantic makes for the names allows any."""


@task(json_schema_extra=_EITHER)
def shell(
    ctx: Context,
    command: Annotated[NoNul, Field(min_length=1, description="Run by bash, or sh where there is none.")] | None = None,
    argv: Annotated[list[NoNul], Field(min_length=1, description="Run as it is, without a shell.")] | None = None,
    terminal: Annotated[bool, Field(description="A pseudo-terminal; false gives pipes.")] = True,
    env: Annotated[
        dict[VariableName, NoNul], Field(description="More variables for the command.", json_schema_extra=_NAMES)
    ]
    | None = None,
    cwd: Annotated[str, Field(pattern="^/[^\\x00]*$", description="Absolute; default is the workspace.")] | None = None,
    stdin: Annotated[Literal["closed", "open"], Field(description=_STDIN)] = "closed",
) -> dict[str, Any]:
    """Run a command and stream what it writes.

    Exit code 0 is success. The command has ended when its output has, or 0.5 s after it exited. On cancel it gets
    SIGTERM with all that it has started, each process once, so that `trap` runs.
    """
    is_open = stdin == "open"
    ctx.phase("tool", (command or " ".join(argv or []))[:200])
    with ctx.terminal(argv or command or "", pty=terminal, cwd=cwd, env=env, open_stdin=is_open) as running:
        running.run(ctx.typed if is_open else None).check()
    return {"exit_code": 0}
