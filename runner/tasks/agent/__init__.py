"""The `agent` task: a language model at work with a terminal, files and a browser."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from runner.context import Context
from runner.errors import TaskFailed
from runner.loading import task
from runner.tasks.agent.imports import beside_the_loop
from runner.tasks.agent.options import Options
from runner.tasks.agent.tools import Tools
from runner.text import shown

if TYPE_CHECKING:
    from pydantic_ai import Agent
    from pydantic_ai.run import AgentRun
    from pydantic_ai.settings import ModelSettings

INSTRUCTIONS = (
    "You work on a Unix machine through your tools, without anybody to ask. Do what the user wants completely, check "
    "that it works, then say in a few sentences what you did. Paths are relative to the working folder."
)
MAX_DETAIL = 200

_MODEL = "A model of the server's provider, or demo, which needs none. Default: the server's."
_CWD = "Absolute; where the agent works. Default is out/, which is published when the job succeeds."


@task
async def agent(
    ctx: Context,
    prompt: Annotated[str, Field(min_length=1, description="What to do.")],
    model: Annotated[str, Field(min_length=1, max_length=200, description=_MODEL)] | None = None,
    max_steps: Annotated[int, Field(ge=1, description="Answers of the model; at most the server's limit.")]
    | None = None,
    cwd: Annotated[str, Field(pattern="^/[^\\x00]*$", description=_CWD)] | None = None,
) -> dict[str, Any]:
    """Let a language model work: it runs commands, reads and writes files, and opens pages until it is done."""
    ctx.phase("startup", "starting the agent")
    options = Options.for_job(ctx.options, model, max_steps)
    root = ctx.out if cwd is None else Path(cwd)
    if not root.is_dir():
        raise TaskFailed("load", f"cannot work in {root}: there is no such folder")
    async with Tools(ctx, root) as tools:
        made = await beside_the_loop(lambda: _make(options, ctx.secrets.get("key"), tools))
        answer = await _work(ctx, made, prompt, options)
        ctx.phase("cleanup", "closing the model's connection")
    return {**answer, "model": options.model, "cwd": str(root), "files": sorted(tools.written)}


def _make(options: Options, key: str | None, tools: Tools) -> Agent[None, str]:
    from runner.tasks.agent.models import make_model  # noqa: PLC0415

    model = make_model(options, key)
    from pydantic_ai import Agent  # noqa: PLC0415

    return Agent(model, instructions=INSTRUCTIONS, tools=tools.functions, retries=3)


async def _work(ctx: Context, made: Agent[None, str], prompt: str, options: Options) -> dict[str, Any]:
    from pydantic_ai import UsageLimits  # noqa: PLC0415
    from pydantic_ai.exceptions import UsageLimitUnavailableWarning  # noqa: PLC0415

    from runner.tasks.agent.problems import explain  # noqa: PLC0415

    warnings.simplefilter("ignore", UsageLimitUnavailableWarning)  # this server logs its own message below
    limits = UsageLimits(request_limit=options.max_steps, total_tokens_limit=options.max_tokens)
    try:
        async with asyncio.timeout(options.time_s) as clock:
            async with made.iter(prompt, usage_limits=limits, model_settings=_patience(options.silence_s)) as run:
                await _follow(ctx, made, run)
    except TimeoutError as exc:
        if clock.expired():
            message = f"the agent had not finished within {options.time_s:g} s (DEADSTOP_AGENT_TIME_S)"
            raise TaskFailed("raised", message) from None
        raise explain(exc, options) from None
    except TaskFailed:
        raise
    except Exception as exc:
        raise explain(exc, options) from exc
    assert run.result is not None
    usage = run.usage
    if usage.unmeasured_requests:
        unheld = "DEADSTOP_AGENT_MAX_TOKENS could not be held"
        ctx.log(f"{options.where} does not say how many tokens an answer took: {unheld}", "warning")
    if run.result.response.finish_reason == "length":
        ctx.log("the answer is not complete: the model came to its limit of tokens in one answer", "warning")
    return {
        "answer": shown(run.result.output),
        "steps": usage.requests,
        "tokens": {"input": usage.input_tokens, "output": usage.output_tokens},
    }


def _patience(silence_s: float) -> ModelSettings:
    # The first holds between two words, and for each attempt of a request; the second for all attempts together.
    return {"timeout": silence_s, "first_event_timeout": silence_s}


async def _follow(ctx: Context, made: Agent[None, str], run: AgentRun[None, str]) -> None:
    """Say what the agent does while it does it."""
    from pydantic_ai.messages import FunctionToolCallEvent  # noqa: PLC0415

    steps = 0
    async for node in run:
        if made.is_model_request_node(node):
            steps += 1
            ctx.phase("llm", f"step {steps}")
            async with node.stream(run.ctx) as words:
                await _speak(ctx, words)
        elif made.is_call_tools_node(node):
            async with node.stream(run.ctx) as happenings:
                async for event in happenings:
                    if isinstance(event, FunctionToolCallEvent):
                        ctx.phase("tool", _short(event.part.tool_name, event.part.args_as_dict()))


async def _speak(ctx: Context, words: Any) -> None:
    """Pass on the model's text as it comes, and end it with a line's end."""
    from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta  # noqa: PLC0415

    last = ""
    async for event in words:
        match event:
            case PartStartEvent(part=TextPart(content=text)):
                pass
            case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                pass
            case _:
                continue
        if text:
            ctx.say(text)
            last = text
    if last and not last.endswith("\n"):
        ctx.say("\n")


def _short(tool: str, arguments: dict[str, Any]) -> str:
    told = next(iter(arguments.values()), "")
    return f"{tool} {told}"[:MAX_DETAIL]
