"""The endpoints for the server itself: tasks, the events of all jobs, health, metrics and the API's description."""

from __future__ import annotations

from supervisor.api.endpoint import FLAG, SSE, Answer, Endpoint, Parameter
from supervisor.api.guard.problems import Kind
from supervisor.api.guard.rules import Access
from supervisor.api.handlers import pages, server, streams
from supervisor.api.schemas import answers, diagnosis

SERVER_ENDPOINTS = (
    Endpoint(
        "GET",
        "/tasks",
        server.list_tasks,
        Access.ANY_SCOPE,
        group="Server",
        summary="List the tasks",
        about="What can be run, and the JSON Schema of each input.",
        answers=(Answer(200, "The tasks.", answers.TasksJson),),
        problems=(Kind.NOT_READY,),
        example='curl $URL/tasks -H "$AUTH"',
    ),
    Endpoint(
        "GET",
        "/events",
        streams.of_all,
        Access.READ,
        group="Server",
        summary="Follow the events of all jobs",
        about="From now on. These frames have no `id:`, because each job counts its own events.",
        answers=(Answer(200, "The events, until you leave or the server ends.", media_type=SSE),),
        example='curl -N $URL/events -H "$AUTH"',
    ),
    Endpoint(
        "GET",
        "/livez",
        server.livez,
        Access.PROBE,
        exempt=True,
        group="Server",
        summary="Is the process alive?",
        about="Answers as long as the event loop does.",
        answers=(Answer(200, "It is.", answers.ReadinessJson),),
        parameters=(Parameter("verbose", FLAG, "List the checks."),),
        problems=(Kind.INVALID,),
        example="curl $URL/livez",
    ),
    Endpoint(
        "GET",
        "/readyz",
        server.readyz,
        Access.PROBE,
        exempt=True,
        group="Server",
        summary="Does the server take jobs?",
        about="State folder writable, not shutting down, and a process was really started and killed lately.",
        answers=(
            Answer(200, "It does.", answers.ReadinessJson),
            Answer(503, "It does not (yet, or any more).", answers.ReadinessJson),
        ),
        parameters=(Parameter("verbose", FLAG, "List the checks."),),
        problems=(Kind.INVALID,),
        example='curl "$URL/readyz?verbose"',
    ),
    Endpoint(
        "GET",
        "/health",
        server.health,
        Access.READ,
        exempt=True,
        group="Server",
        summary="How is the server?",
        about="Always 200. `down` accepts no jobs, `degraded` accepts them although a check fails.",
        answers=(Answer(200, "Status, containment, checks and counts.", answers.HealthJson),),
        example='curl $URL/health -H "$AUTH"',
    ),
    Endpoint(
        "GET",
        "/health/stuck",
        server.stuck,
        Access.READ,
        exempt=True,
        group="Server",
        summary="Which jobs hang, and where?",
        about="Rules: `no_heartbeat` (the runner itself is silent), `no_event` (the task is), `starting_late`, "
        "`cancelling_late`, `survivors`. A stuck job never makes the server unready.",
        answers=(
            Answer(200, "None.", diagnosis.StuckJobsJson),
            Answer(503, "These, with their stacks and processes.", diagnosis.StuckJobsJson),
        ),
        example='curl $URL/health/stuck -H "$AUTH"',
    ),
    Endpoint(
        "GET",
        "/metrics",
        server.metrics,
        Access.READ,
        group="Server",
        summary="Metrics, for Prometheus",
        about="With `Accept: application/openmetrics-text`, durations of cancels carry the job's id as an exemplar.",
        answers=(Answer(200, "The metrics.", media_type="text/plain"),),
        example='curl $URL/metrics -H "$AUTH"',
    ),
    Endpoint(
        "GET",
        "/openapi.json",
        pages.openapi,
        Access.ANY_SCOPE,
        group="Server",
        summary="This description, for programs",
        about="OpenAPI 3.1.",
        answers=(Answer(200, "The document."),),
        example='curl $URL/openapi.json -H "$AUTH"',
    ),
)
