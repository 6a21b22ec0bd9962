"""What each route is for, in words: the source of /openapi.json and /docs. A test compares it with the route table."""

from __future__ import annotations

from supervisor.api.guard.problems import Kind
from supervisor.api.guard.queries import (
    DEFAULT_LIMIT,
    MAX_EVENT_ID,
    MAX_KEY_LENGTH,
    MAX_LIMIT,
    MAX_WAIT_S,
    STATE_SPELLINGS,
)
from supervisor.api.operation import ANY, FLAG, SSE, Answer, Operation, Parameter
from supervisor.api.schemas import answers, bodies, contents, diagnosis
from supervisor.api.server_operations import SERVER_OPERATIONS

_EVENT_NUMBER = {"type": "integer", "minimum": 0, "maximum": MAX_EVENT_ID}
_TEXT = {"type": "string"}
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

OPERATIONS = (
    Operation(
        "POST",
        "/execute/stream",
        "Run",
        "Run a task and stream its events",
        "Creates a job and answers with its events, from the first to the last. When the last such stream of a job "
        'leaves, the job is cancelled, unless it was created with `on_disconnect: "continue"`. The same `id` with the '
        "same body attaches to the existing job, from event 1.",
        (Answer(200, "The job's events, ending with its terminal event.", media_type=SSE),),
        body=bodies.CreateBody,
        parameters=(_KEY,),
        problems=_CREATE_PROBLEMS,
        example='curl -N $URL/execute/stream -H "$AUTH" --json '
        '\'{"task": "shell", "input": {"command": "ping -c 3 127.0.0.1"}}\'',
    ),
    Operation(
        "POST",
        "/jobs",
        "Run",
        "Create a job that runs on its own",
        "Answers at once. Nobody has to stay connected: `on_disconnect` applies to streams of `/execute/stream` only.",
        (
            Answer(202, "The new job; `Location` names it.", answers.JobJson),
            Answer(200, "The job that this id or key already made.", answers.JobJson),
        ),
        body=bodies.CreateBody,
        parameters=(_KEY,),
        problems=_CREATE_PROBLEMS,
        example='curl $URL/jobs -H "$AUTH" --json \'{"task": "demo", "input": {}, "labels": {"team": "a"}}\'',
    ),
    Operation(
        "GET",
        "/jobs",
        "Look",
        "List jobs, newest first",
        "Pages stay in place while jobs come and go. A page may be shorter than `limit` when its jobs are large.",
        (Answer(200, "A page of jobs; `next_cursor` is null on the last one.", answers.JobsJson),),
        parameters=(
            Parameter("state", _STATES, "One state, or several with commas between them."),
            Parameter("label", _LABEL, "`key:value`; give it again to ask for jobs that have both."),
            Parameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
                "Jobs on a page, at most.",
            ),
            Parameter("stuck", FLAG, "Only jobs that hang, or with `false` only others."),
            Parameter("cursor", _CURSOR, "`next_cursor` of the page before."),
        ),
        problems=(Kind.INVALID,),
        example='curl "$URL/jobs?state=running,cancelling&label=team:a" -H "$AUTH"',
    ),
    Operation(
        "GET",
        "/jobs/{id}",
        "Look",
        "Look at a job",
        "The job as it is now.",
        (Answer(200, "The job.", answers.JobJson),),
        problems=(Kind.INVALID, Kind.NOT_FOUND),
        example='curl $URL/jobs/$ID -H "$AUTH"',
    ),
    Operation(
        "GET",
        "/jobs/{id}/events",
        "Look",
        "Follow or read a job's events",
        "From `Last-Event-ID`, else `after`, else the start; then live, until the terminal event. Leaving never stops "
        "the job, unless the stream was opened with `on_disconnect=cancel`. What is no longer kept is told by a "
        "`stream.gap`.",
        (
            Answer(200, "The events, as they come.", media_type=SSE),
            Answer(200, "Those that there are now, with `follow=false`.", answers.EventsJson),
            Answer(204, "The job is finished and nothing is left to send."),
        ),
        parameters=(
            Parameter("Last-Event-ID", _EVENT_NUMBER, "The last event that you have.", where="header"),
            Parameter("after", _EVENT_NUMBER, "The same, in the query."),
            Parameter("follow", FLAG, "`false`: what there is now, as JSON. So does `Accept: application/json`."),
            Parameter("on_disconnect", _ON_DISCONNECT, "`cancel`: this stream, too, holds the job's life."),
        ),
        problems=(Kind.INVALID, Kind.NOT_FOUND, Kind.FORBIDDEN_ORIGIN),
        example='curl -N "$URL/jobs/$ID/events?after=17" -H "$AUTH"',
    ),
    Operation(
        "GET",
        "/jobs/{id}/processes",
        "Look",
        "List a job's processes",
        "The processes that the job has now, with the host's pids. CPU use is measured for 0.1 s.",
        (Answer(200, "The processes, parents first.", diagnosis.ProcessesJson),),
        problems=(Kind.INVALID, Kind.NOT_FOUND),
        example='curl $URL/jobs/$ID/processes -H "$AUTH"',
    ),
    Operation(
        "GET",
        "/jobs/{id}/stack",
        "Look",
        "See where a job's Python code is",
        "The stacks of all threads of the job's runner, also while C code holds the interpreter lock. The job is not "
        "disturbed: not a system call of it is interrupted. A runner that is stopped gives `stack: null` and a `note`. "
        "With `native` the frames of C code are there too; that takes py-spy (the extra `native`), and stops the job "
        "for some milliseconds.",
        (Answer(200, "The stacks, main thread first, innermost call first.", diagnosis.StackJson),),
        parameters=(Parameter("native", FLAG, "Also the frames of C code."),),
        problems=(Kind.INVALID, Kind.NOT_FOUND, Kind.CONFLICT),
        example='curl $URL/jobs/$ID/stack -H "$AUTH" | jq -r .stack',
    ),
    Operation(
        "POST",
        "/jobs/{id}/input",
        "Run",
        "Type into a job",
        'For jobs whose input says `"stdin": "open"`, such as a shell. What comes before the task runs is kept for it. '
        "What the job has not read yet is bounded: past 256 KiB the answer is 429.",
        (Answer(202, "Accepted; so much is not taken yet.", contents.InputJson),),
        body=bodies.InputBody,
        problems=(Kind.INVALID, Kind.NOT_FOUND, Kind.CONFLICT, Kind.INPUT_FULL),
        example='curl $URL/jobs/$ID/input -H "$AUTH" --json \'{"text": "ls\\n"}\'',
    ),
    Operation(
        "POST",
        "/jobs/{id}/lease",
        "Run",
        "Keep a job with a lease alive",
        "For clients whose proxies acknowledge bytes for them. A job that was created with `lease_s` is cancelled, "
        "with the reason `client_disconnected`, when this was not called for so long. Never refused for load.",
        (Answer(200, "The lease begins anew.", contents.LeaseJson),),
        body=bodies.LeaseBody,
        body_required=False,
        problems=(Kind.INVALID, Kind.NOT_FOUND, Kind.CONFLICT),
        example='curl -X POST $URL/jobs/$ID/lease -H "$AUTH"',
    ),
    Operation(
        "GET",
        "/jobs/{id}/files",
        "Look",
        "List the files that a job left",
        "What it had written to `out/` when it succeeded; with `keep_files` also when it did not. "
        "Nothing as long as it has not ended.",
        (Answer(200, "The files, sorted by path.", contents.FilesJson),),
        problems=(Kind.INVALID, Kind.NOT_FOUND),
        example='curl $URL/jobs/$ID/files -H "$AUTH"',
    ),
    Operation(
        "GET",
        "/jobs/{id}/files/{path}",
        "Look",
        "Download a file that a job left",
        "One range can be asked for. It comes as an attachment that no browser runs as a page of this server.",
        (
            Answer(200, "The file.", media_type=ANY),
            Answer(206, "The range.", media_type=ANY),
            Answer(304, "The one that you have is good (`If-None-Match`, `If-Modified-Since`)."),
        ),
        parameters=(Parameter("Range", _TEXT, "Such as `bytes=0-1023` or `bytes=-500`.", where="header"),),
        problems=(Kind.INVALID, Kind.NOT_FOUND, Kind.RANGE),
        example='curl -O $URL/jobs/$ID/files/report.txt -H "$AUTH"',
    ),
    Operation(
        "POST",
        "/jobs/{id}/cancel",
        "Stop",
        "Stop a job",
        "Asks, terminates, kills, and proves that nothing is left. Repeating it changes nothing, except that `force` "
        "goes straight to kill. A cancel for an id that is not known yet is kept, so that it can overtake its submit.",
        (
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
    Operation(
        "DELETE",
        "/jobs/{id}",
        "Stop",
        "Forget a finished job",
        "The job, its events and its files are gone from this server.",
        (Answer(204, "Forgotten."),),
        problems=(Kind.INVALID, Kind.NOT_FOUND, Kind.CONFLICT, Kind.STORAGE_FULL),
        example='curl -X DELETE $URL/jobs/$ID -H "$AUTH"',
    ),
    Operation(
        "GET",
        "/tasks",
        "Server",
        "List the tasks",
        "What can be run, and the JSON Schema of each input.",
        (Answer(200, "The tasks.", answers.TasksJson),),
        problems=(Kind.NOT_READY,),
        example='curl $URL/tasks -H "$AUTH"',
    ),
    Operation(
        "GET",
        "/events",
        "Server",
        "Follow the events of all jobs",
        "From now on. These frames have no `id:`, because each job counts its own events.",
        (Answer(200, "The events, until you leave or the server ends.", media_type=SSE),),
        example='curl -N $URL/events -H "$AUTH"',
    ),
    *SERVER_OPERATIONS,
)
