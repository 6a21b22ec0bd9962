"""The model `demo`: it plans and writes a real application with the same tools, and streams as a provider does.

It needs no network and no key, so an agent can be watched, and cancelled, on any machine. It does not understand its
prompt: it always writes the same application, runs its tests and reports their result.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from runner.tasks.agent.demo.application import RECORDS, TEST_COMMAND, Part, parts

TOKEN_CHARACTERS = 24
TOKEN_S = 0.006
"""About the speed of a fast model."""

Pieces = AsyncIterator[str | DeltaToolCalls]


def demo_model() -> FunctionModel:
    return FunctionModel(stream_function=_answer, model_name="demo")


async def _answer(messages: list[ModelMessage], _info: AgentInfo) -> Pieces:
    """Yield the next step of the plan. The length of the conversation says which step that is."""
    plan = list(parts())
    step = sum(isinstance(message, ModelResponse) for message in messages)
    if step == 0:
        async for token in _stream_text(_announcement(plan)):
            yield token
    if step < len(plan):
        async for piece in _stream_files(plan[step]):
            yield piece
    elif step == len(plan):
        async for token in _stream_text("Everything is written. Now its tests.\n"):
            yield token
        yield {0: DeltaToolCall("run_command", json.dumps({"command": TEST_COMMAND}), tool_call_id="tests")}
    else:
        async for token in _stream_text(_conclusion(messages)):
            yield token


def _announcement(plan: list[Part]) -> str:
    files = sum(len(part.files) for part in plan)
    return (
        f"I will write a JSON service with {len(RECORDS)} kinds of record: {files} files, then run its tests. "
        "(This is the demo model: it writes the same application whatever it is asked.)\n"
    )


async def _stream_files(part: Part) -> Pieces:
    async for token in _stream_text(part.words + "\n"):
        yield token
    for index, (path, content) in enumerate(part.files):
        yield {index: DeltaToolCall("write_file", tool_call_id=f"write {path}")}
        for token in _tokens(json.dumps({"path": path, "content": content})):
            await asyncio.sleep(TOKEN_S)
            yield {index: DeltaToolCall(json_args=token)}


async def _stream_text(text: str) -> AsyncIterator[str]:
    for token in _tokens(text):
        await asyncio.sleep(TOKEN_S)
        yield token


def _tokens(text: str) -> Iterator[str]:
    for start in range(0, len(text), TOKEN_CHARACTERS):
        yield text[start : start + TOKEN_CHARACTERS]


def _conclusion(messages: list[ModelMessage]) -> str:
    last = messages[-1]
    returns = (
        [part for part in last.parts if isinstance(part, ToolReturnPart)] if isinstance(last, ModelRequest) else []
    )
    ending = str(returns[-1].content).strip().splitlines()[-1] if returns else "(not run)"
    return f"The application is complete. The command that runs its tests: {ending.strip('()')}.\n"
