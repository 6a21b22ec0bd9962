"""The JSON that shows operators what a job is doing."""

from __future__ import annotations

from collections.abc import Iterable

from typing_extensions import TypedDict  # pydantic describes only this one before Python 3.12

from supervisor.api.schemas.encoding import timestamp
from supervisor.core.telemetry.diagnosis import Diagnosis
from supervisor.engine.inspection import ProcessRow, StackDump


class ProcessJson(TypedDict):
    pid: int
    ppid: int
    name: str
    cmdline: list[str]
    status: str
    cpu_percent: float
    rss_bytes: int
    started_at: str
    session: int
    threads: int
    wait_channel: str | None
    read_bytes_per_s: float | None
    write_bytes_per_s: float | None


class ProcessesJson(TypedDict):
    processes: list[ProcessJson]


class StackJson(TypedDict):
    """The main thread first, the innermost call of each thread first. Without a stack, `note` says why."""

    stack: str | None
    taken_at: str
    note: str | None


class StuckJobJson(TypedDict):
    """A stuck job. `since` is its last sign of life."""

    id: str
    task: str
    rule: str
    words: str
    since: str
    stack: str | None
    note: str | None
    processes: list[ProcessJson]


class StuckJobsJson(TypedDict):
    stuck: list[StuckJobJson]


def processes_json(rows: Iterable[ProcessRow]) -> ProcessesJson:
    return {"processes": [_process_json(row) for row in rows]}


def _process_json(row: ProcessRow) -> ProcessJson:
    return {
        "pid": row.pid,
        "ppid": row.ppid,
        "name": row.name,
        "cmdline": row.cmdline,
        "status": row.status,
        "cpu_percent": row.cpu_percent,
        "rss_bytes": row.rss_bytes,
        "started_at": timestamp(row.started_at),
        "session": row.session,
        "threads": row.threads,
        "wait_channel": row.wait_channel,
        "read_bytes_per_s": row.read_bytes_per_s,
        "write_bytes_per_s": row.write_bytes_per_s,
    }


def stack_json(stack: StackDump) -> StackJson:
    return {"stack": stack.text, "taken_at": timestamp(stack.taken_at), "note": stack.note}


def stuck_jobs_json(rows: Iterable[Diagnosis]) -> StuckJobsJson:
    return {"stuck": [_stuck_job_json(row) for row in rows]}


def _stuck_job_json(row: Diagnosis) -> StuckJobJson:
    return {
        "id": row.job_id,
        "task": row.task,
        "rule": row.stuck.rule,
        "words": row.stuck.words,
        "since": timestamp(row.stuck.since),
        "stack": row.stuck.stack,
        "note": row.stuck.note,
        "processes": processes_json(row.processes)["processes"],
    }
