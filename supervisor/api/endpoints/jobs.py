"""The endpoints for jobs: start, query, follow, feed, stop and forget them."""

from __future__ import annotations

from supervisor.api.endpoint import FLAG, SSE, Answer, Endpoint, Parameter
from supervisor.api.guard.problems import Kind
from supervisor.api.guard.queries import (
    DEFAULT_LIMIT,
    MAX_EVENT_ID,
    MAX_KEY_LENGTH,
    MAX_LIMIT,
    MAX_WAIT_S,
    STATE_SPELLINGS,
)
from supervisor.api.guard.request_body import MAX_BODY_BYTES, MAX_TYPED_BYTES
from supervisor.api.guard.rules import Access
from supervisor.api.handlers import jobs, streams
from supervisor.api.schemas import answers, bodies, contents

_EVENT_NUMBER = {"type": "integer", "minimum": 0, "maximum": MAX_EVENT_ID}
_STATES = {"type": "array", "items": {"enum": sorted(STATE_SPELLINGS)}}
_LABEL = {"type": "string", "pattern": "^[A-Za-z0-9_./-]{1,64}:"}
_CURSOR = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}
_ON_DISCONNECT = {"enum": ["cancel", "continue"], "default": "continue"}
_CREATE_PROBLEMS = (Kind.INVALID, Kind.CONFLICT, Kind.QUEUE_FULL, Kind.NOT_READY, Kind.STORAGE_FULL)
_KEY = Parameter(
    "Idempotency-Key",
    {"type": "string", "pattern": f"^[!-~]{{1,{MAX_KEY_LENGTH}}}$"},
    "The same key with the same body attaches to the job that it made.",
    where="header",
)

JOB_ENDPOINTS = (
    Endpoint(
        "POST",
        "/execute/stream",
        streams.execute_stream,
        Access.SUBMIT,
        max_body_bytes=MAX_BODY_BYTES,
        group="Run",
        summary="Run a task and stream its events",
        about=(
            "Creates a job and answers with its events, from the first to the last. When the last such stream of a "
            'job leaves, the job is cancelled, unless it was created with `on_disconnect: "continue"`. The same `id` '
            "with the same body attaches to the existing job, from event 1."
        ),
        answers=(Answer(200, "The job's events, ending with its terminal event.", media_type=SSE),),
        body=bodies.CreateBody,
        parameters=(_KEY,),
        problems=_CREATE_PROBLEMS,
        example='curl -N $URL/execute/stream -H "$AUTH" --json '
        '\'{"task": "shell", "input": {"command": "ping -c 3 127.0.0.1"}}\'',
    ),
    Endpoint(
        "POST",
        "/jobs",
        jobs.create,
        Access.SUBMIT,
        max_body_bytes=MAX_BODY_BYTES,
        group="Run",
        summary="Create a job that runs on its own",
        about=(
            "Answers at once. No client has to stay connected: `on_disconnect` applies to streams of `/execute/stream` "
            "only."
        ),
        answers=(
            Answer(202, "The new job; `Location` names it.", answers.JobJson),
            Answer(200, "The job that this id or key already made.", answers.JobJson),
        ),
        body=bodies.CreateBody,
        parameters=(_KEY,),
        problems=_CREATE_PROBLEMS,
        example='curl $URL/jobs -H "$AUTH" --json \'{"task": "demo", "input": {}, "labels": {"team": "a"}}\'',
    ),
    Endpoint(
        "GET",
        "/jobs",
        jobs.list_jobs,
        Access.READ,
        group="Look",
        summary="List jobs, newest first",
        about="Pages stay in place while jobs come and go. A page may be shorter than `limit` when its jobs are large.",
        answers=(Answer(200, "A page of jobs; `next_cursor` is null on the last one.", answers.JobsJson),),
        parameters=(
            Parameter("state", _STATES, "One state, or several with commas between them."),
            Parameter("label", _LABEL, "`key:value`; give it again to ask for jobs that have both."),
            Parameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
                "Jobs on a page, at most.",
            ),
            Parameter("stuck", FLAG, "Only stuck jobs, or with `false` only others."),
            Parameter("cursor", _CURSOR, "`next_cursor` of the page before."),
        ),
        problems=(Kind.INVALID,),
        example='curl "$URL/jobs?state=running,cancelling&label=team:a" -H "$AUTH"',
    ),
    Endpoint(
        "GET",
        "/jobs/{id}",
        jobs.show,
        Access.READ,
        group="Look",
        summary="Show a job",
        about="The job as it is now.",
        answers=(Answer(200, "The job.", answers.JobJson),),
        problems=(Kind.INVALID, Kind.NOT_FOUND),
        example='curl $URL/jobs/$ID -H "$AUTH"',
    ),
    Endpoint(
        "GET",
        "/jobs/{id}/events",
        streams.of_job,
        Access.READ,
        group="Look",
        summary="Follow or read a job's events",
        about=(
            "From `Last-Event-ID`, else `after`, else the start; then live, until the terminal event. Leaving never "
            "stops the job, unless the stream was opened with `on_disconnect=cancel`. A `stream.gap` stands for events "
            "that are no longer kept."
        ),
        answers=(
            Answer(200, "The events, as they come.", media_type=SSE),
            Answer(200, "Those that there are now, with `follow=false`.", answers.EventsJson),
            Answer(204, "The job is finished and nothing is left to send."),
        ),
        parameters=(
            Parameter("Last-Event-ID", _EVENT_NUMBER, "The last event that you have.", where="header"),
            Parameter("after", _EVENT_NUMBER, "The same, in the query."),
            Parameter("follow", FLAG, "`false`: what there is now, as JSON. So does `Accept: application/json`."),
            Parameter("on_disconnect", _ON_DISCONNECT, "`cancel`: the job depends on this stream, too."),
        ),
        problems=(Kind.INVALID, Kind.NOT_FOUND, Kind.FORBIDDEN_ORIGIN),
        example='curl -N "$URL/jobs/$ID/events?after=17" -H "$AUTH"',
    ),
    Endpoint(
        "POST",
        "/jobs/{id}/input",
        jobs.write_input,
        Access.SUBMIT,
        max_body_bytes=MAX_TYPED_BYTES,
        group="Run",
        summary="Type into a job",
        about=(
            'For jobs whose input says `"stdin": "open"`, such as a shell. What comes before the task runs is kept '
            "for it. What the job has not read yet is bounded: past 256 KiB the answer is 429."
        ),
        answers=(Answer(202, "Accepted; this much has not been read yet.", contents.InputJson),),
        body=bodies.InputBody,
        problems=(Kind.INVALID, Kind.NOT_FOUND, Kind.CONFLICT, Kind.INPUT_FULL),
        example='curl $URL/jobs/$ID/input -H "$AUTH" --json \'{"text": "ls\\n"}\'',
    ),
    Endpoint(
        "POST",
        "/jobs/{id}/lease",
        jobs.renew_lease,
        Access.SUBMIT,
        exempt=True,
        group="Run",
        summary="Keep a job with a lease alive",
        about=(
            "For clients whose proxies acknowledge bytes for them. A job that was created with `lease_s` is "
            "cancelled, with the reason `lease`, when this is not called for that time. Never rejected "
            "for load."
        ),
        answers=(Answer(200, "The lease starts again.", contents.LeaseJson),),
        body=bodies.LeaseBody,
        body_required=False,
        problems=(Kind.INVALID, Kind.NOT_FOUND, Kind.CONFLICT),
        example='curl -X POST $URL/jobs/$ID/lease -H "$AUTH"',
    ),
    Endpoint(
        "POST",
        "/jobs/{id}/cancel",
        jobs.cancel,
        Access.SUBMIT,
        exempt=True,
        group="Stop",
        summary="Stop a job",
        about=(
            "Asks, terminates, kills, and proves that nothing is left. Repeating it changes nothing, except that "
            "`force` goes straight to kill. A cancel for an id that is not known yet is kept, so that it can "
            "overtake its submit."
        ),
        answers=(
            Answer(200, "The job has ended.", answers.JobJson),
            Answer(
                202,
                "It is being stopped or swept; or it is not known yet, and the cancel is kept.",
                answers.JobJson | answers.UnknownJobJson,
            ),
        ),
        body=bodies.CancelBody,
        body_required=False,
        parameters=(
            Parameter(
                "wait",
                {"type": "number", "minimum": 0, "maximum": MAX_WAIT_S, "default": 0},
                "Seconds that the answer may wait for the end.",
            ),
        ),
        problems=(Kind.INVALID,),
        example='curl -X POST "$URL/jobs/$ID/cancel?wait=5" -H "$AUTH"',
    ),
    Endpoint(
        "DELETE",
        "/jobs/{id}",
        jobs.forget,
        Access.SUBMIT,
        group="Stop",
        summary="Forget a finished job",
        about="The job, its events and its files are gone from this server.",
        answers=(Answer(204, "Forgotten."),),
        problems=(Kind.INVALID, Kind.NOT_FOUND, Kind.CONFLICT, Kind.STORAGE_FULL),
        example='curl -X DELETE $URL/jobs/$ID -H "$AUTH"',
    ),
)
