"""The JSON of what goes into a job and what comes out of it: what is typed, and its files."""

from __future__ import annotations

from typing_extensions import TypedDict  # pydantic describes only this one before Python 3.12

from supervisor.core.job_input import JobInput


class InputJson(TypedDict):
    """How much of what was typed the job has not taken yet."""

    pending_bytes: int


def input_json(typed: JobInput) -> InputJson:
    return {"pending_bytes": typed.pending_bytes}
