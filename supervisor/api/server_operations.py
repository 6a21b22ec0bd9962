"""What each route is for that is about the server and not about a job."""

from __future__ import annotations

from supervisor.api.guard.problems import Kind
from supervisor.api.operation import FLAG, Answer, Operation, Parameter
from supervisor.api.schemas import answers, bodies, diagnosis

SERVER_OPERATIONS = (
    Operation(
        "GET",
        "/livez",
        "Server",
        "Is the process alive?",
        "Answers as long as the event loop does.",
        (Answer(200, "It is.", answers.ReadinessJson),),
        parameters=(Parameter("verbose", FLAG, "List the checks."),),
        problems=(Kind.INVALID,),
        open=True,
        example="curl $URL/livez",
    ),
    Operation(
        "GET",
        "/readyz",
        "Server",
        "Does the server take jobs?",
        "State folder writable, not shutting down, and a process was really started and killed lately.",
        (
            Answer(200, "It does.", answers.ReadinessJson),
            Answer(503, "It does not (yet, or any more).", answers.ReadinessJson),
        ),
        parameters=(Parameter("verbose", FLAG, "List the checks."),),
        problems=(Kind.INVALID,),
        open=True,
        example='curl "$URL/readyz?verbose"',
    ),
    Operation(
        "GET",
        "/health",
        "Server",
        "How is the server?",
        "In words: always 200. `down` takes no jobs, `degraded` takes them although a check fails.",
        (Answer(200, "Status, containment, checks and counts.", answers.HealthJson),),
        example='curl $URL/health -H "$AUTH"',
    ),
    Operation(
        "GET",
        "/health/stuck",
        "Server",
        "Which jobs hang, and where?",
        "Rules: `no_heartbeat` (the runner itself is silent), `no_event` (the task is), `starting_late`, "
        "`cancelling_late`, `survivors`. A stuck job never makes the server unready.",
        (
            Answer(200, "None.", diagnosis.StuckJobsJson),
            Answer(503, "These, with their stacks and processes.", diagnosis.StuckJobsJson),
        ),
        example='curl $URL/health/stuck -H "$AUTH"',
    ),
    Operation(
        "GET",
        "/metrics",
        "Server",
        "Metrics, for Prometheus",
        "Asked with `Accept: application/openmetrics-text`, durations of cancels carry the job's id as an exemplar.",
        (Answer(200, "The metrics.", media_type="text/plain"),),
        example='curl $URL/metrics -H "$AUTH"',
    ),
    Operation(
        "POST",
        "/session",
        "Browser",
        "Sign in",
        "Sets the cookie that stands for the token in a browser.",
        (Answer(204, "Signed in."),),
        body=bodies.SessionBody,
        problems=(Kind.UNAUTHORIZED, Kind.INVALID),
        open=True,
    ),
    Operation(
        "DELETE",
        "/session",
        "Browser",
        "Sign out",
        "Takes the cookie back.",
        (Answer(204, "Signed out."),),
        open=True,
    ),
    Operation(
        "GET",
        "/openapi.json",
        "Server",
        "This description, for programs",
        "OpenAPI 3.1.",
        (Answer(200, "The document."),),
        example='curl $URL/openapi.json -H "$AUTH"',
    ),
)
