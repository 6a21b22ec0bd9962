"""The tasks of the server that is fuzzed: whatever is made up for them may run, and touches nothing."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from runner import Context, task


@task
def count(ctx: Context, to: Annotated[int, Field(ge=0, le=5)] = 2, name: str = "") -> dict[str, Any]:
    """Print some numbers, and leave a file with them."""
    for number in range(to):
        print(number, name, flush=True)
        ctx.progress(number + 1, to, name)
    ctx.out.mkdir(exist_ok=True)
    (ctx.out / "numbers.txt").write_text("\n".join(map(str, range(to))))
    return {"to": to, "name": name}


@task
def dawdle(ctx: Context, seconds: Annotated[float, Field(ge=0, le=0.3)], fail: bool = False) -> None:
    """Be there for a moment, to be looked at, typed to and cancelled."""
    ctx.sleep(seconds)
    if fail:
        raise ValueError("asked to")
