"""The commands, once `app.py` has read their arguments. Each prints its answer and returns its exit code."""

from __future__ import annotations

import json
import os
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from deadstop.client.errors import ClientError, Rejected
from deadstop.client.events import ACTIVE_STATES, FINAL_STATES, Event
from deadstop.client.submission import Submission
from supervisor.cli import formatting
from supervisor.cli.arguments import build_input, find_task
from supervisor.cli.exits import ExitCode, for_end
from supervisor.cli.tables import JOB_COLUMNS, TASK_COLUMNS, job_row, print_job, print_table, task_row

if TYPE_CHECKING:
    from deadstop.client.client import JsonClient

Json = Any

STARTED_STATES = frozenset(ACTIVE_STATES) - {"queued"}


async def run_task(
    client: JsonClient,
    submission: Submission,
    text: str | None,
    cwd: str | None,
    *,
    detached: bool,
    as_json: bool,
    plain: bool,
) -> ExitCode:
    """`run`. `cwd` is sent if the task takes one and the server sees the same directories as we do."""
    from supervisor.cli.run import run  # noqa: PLC0415  # no other command follows a job with signals and views

    task = find_task(await client.tasks(), submission.task)
    shared = cwd if client.address.loopback else None
    submission = submission.with_input(build_input(task, text, submission.input, cwd=shared))
    if not detached:
        return await run.attend(client, submission, as_json=as_json, plain=plain)
    job = await client.submit(submission)
    print(json.dumps(job) if as_json else job["id"])
    return ExitCode.OK


async def ps(client: JsonClient, *, states: str | None, everything: bool, label: str | None, as_json: bool) -> ExitCode:
    """`ps`: unfinished jobs, or those in `states`, or all; newest first."""
    jobs = await client.jobs(state=states or (None if everything else ",".join(ACTIVE_STATES)), label=label)
    if as_json:
        print(json.dumps(jobs, indent=2))
    else:
        print_table(JOB_COLUMNS, [job_row(job) for job in jobs], colour_column=2)
    return ExitCode.OK


async def show(client: JsonClient, job_id: str, *, as_json: bool) -> ExitCode:
    """`show`: the job, and its processes while it has some."""
    job = await client.job(job_id)
    if as_json:
        print(json.dumps(job, indent=2))
        return ExitCode.OK
    processes: list[dict[str, Json]] = []
    if job["state"] in STARTED_STATES:
        try:
            processes = (await client.processes(job_id))["processes"]
        except Rejected as exc:
            # The job may end between the two requests; then it has no processes to show.
            if exc.status not in {404, 409}:
                raise
    print_job(job, processes)
    return ExitCode.OK


async def events(client: JsonClient, job_id: str, *, after: int, follow: bool, as_json: bool) -> ExitCode:
    """`events`: those that there are, and with `follow` those that come, up to the terminal one."""
    if not follow:
        for event in await client.past_events(job_id, after=after):
            _print_event(event, as_json=as_json)
        return ExitCode.OK

    def on_cut(why: str) -> None:
        print(f"deadstop: {why}", file=sys.stderr)

    async with aclosing(client.events(job_id, after=after, on_cut=on_cut)) as coming:
        async for event in coming:
            _print_event(event, as_json=as_json)
    return ExitCode.OK


def _print_event(event: Event, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"type": event.type} | event.data), flush=True)
        return
    rest = {name: value for name, value in event.data.items() if name not in {"id", "job_id", "type", "at"}}
    number = "" if event.id is None else str(event.id)
    at = str(event.data.get("at") or "")
    if os.isatty(sys.stdout.fileno()):
        moment = event.at
        clock = moment.astimezone().strftime("%H:%M:%S.%f")[:-3] if moment else ""
        fields = formatting.compact(rest) if rest else ""
        print(f"{number:>5}  {clock:12}  {event.type:18}  {fields}".rstrip(), flush=True)
    else:
        print(f"{number}\t{at}\t{event.type}\t{json.dumps(rest)}", flush=True)


async def cancel(client: JsonClient, job_ids: list[str], *, force: bool, wait_s: float) -> ExitCode:
    """`cancel`: send all requests first, then wait for each job. The worst exit code wins."""
    outcomes = [await client.cancel(job_id, force=force) for job_id in job_ids]
    worst = ExitCode.OK
    for job_id, first in zip(job_ids, outcomes, strict=True):
        pending = first["state"] in STARTED_STATES and wait_s > 0
        job = await client.cancel(job_id, force=force, wait_s=wait_s) if pending else first
        code, line = _cancel_outcome(job, was_over=first["state"] in FINAL_STATES, waited_s=wait_s)
        print(f"{job_id}: {line}", flush=True)
        worst = max(worst, code)
    return worst


def _cancel_outcome(job: dict[str, Json], *, was_over: bool, waited_s: float) -> tuple[ExitCode, str]:
    state = str(job["state"])
    record = job.get("cancellation") or {}
    match state:
        case "unknown":
            return ExitCode.USAGE, (
                f"no such job; one submitted with this ID within {job.get('kept_for_s', 30):g} s will not start"
            )
        case "cancelled" | "timed_out":
            proven = for_end(state, record.get("proof")) is not ExitCode.UNPROVEN
            return ExitCode.OK if proven else ExitCode.UNPROVEN, formatting.end(state, job)
        case "lost":
            return ExitCode.UNPROVEN, formatting.end(state, job)
        case "succeeded" | "failed":
            when = "already finished" if was_over else "had finished its work before the cancel came"
            return ExitCode.OK, f"{when}: {formatting.end(state, job)}"
        case _ if record.get("survivors"):
            return ExitCode.UNPROVEN, f"not proven gone, {formatting.survivors(record['survivors'])}"
        case _:
            now = f"still {state} after {waited_s:g} s" if waited_s else state
            return ExitCode.UNPROVEN if waited_s else ExitCode.OK, f"{now}, not proven gone yet"


async def tasks(client: JsonClient, *, as_json: bool) -> ExitCode:
    """`tasks`: what the server can run."""
    known = await client.tasks()
    if as_json:
        print(json.dumps(known, indent=2))
    else:
        print_table(TASK_COLUMNS, [task_row(task) for task in known])
    return ExitCode.OK


async def health(client: JsonClient) -> ExitCode:
    """`health`: one line and the exit codes of monitoring plugins: 0 ok, 1 warning, 2 critical, 3 unknown."""
    try:
        report = await client.health()
    except ClientError as exc:
        unknown = isinstance(exc, Rejected) and exc.status < 500
        print(f"DEADSTOP {'UNKNOWN' if unknown else 'CRITICAL'} - {exc}")
        return ExitCode(3) if unknown else ExitCode(2)
    code, word = {"ok": (0, "OK"), "degraded": (1, "WARNING"), "down": (2, "CRITICAL")}.get(
        str(report.get("status")), (3, "UNKNOWN")
    )
    print(f"DEADSTOP {word} - {_health_text(report)}")
    return ExitCode(code)


def _health_text(report: dict[str, Json]) -> str:
    counts = report.get("counts") or {}
    level = (report.get("containment") or {}).get("level")
    failing = [f"{name}: {_detail(check)}" for name, check in (report.get("checks") or {}).items() if _fails(check)]
    active = ", ".join(f"{counts.get(state, 0)} {state}" for state in ("running", "queued"))
    text = "; ".join([*failing, f"version {report.get('version')}, containment {level}, {active}"])
    return f"{formatting.one_line(text)} | {_perfdata(report)}".rstrip(" |")


def _perfdata(report: dict[str, Json]) -> str:
    """Return the numbers that monitors draw: jobs by state, then what the checks have measured, with its unit."""
    data = [f"{state}={number}" for state, number in (report.get("counts") or {}).items()]
    for check, result in (report.get("checks") or {}).items():
        for name, number in (result.get("numbers") or {}).items():
            label, _, unit = name.rpartition("_")
            data.append(f"{check}_{label}={number:g}{unit}" if unit in {"s", "ms"} else f"{check}_{name}={number:g}")
    return " ".join(data)


def _fails(check: Json) -> bool:
    if isinstance(check, dict):
        return check.get("ok") is False or check.get("status") in {"degraded", "down", "failed", "fail"}
    return check is False or (isinstance(check, str) and check != "ok")


def _detail(check: Json) -> str:
    if isinstance(check, dict):
        return str(check.get("detail") or check.get("message") or check.get("status") or "failed")
    return str(check)
