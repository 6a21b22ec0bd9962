"""The endpoints that show what a job is doing."""

from __future__ import annotations

from supervisor.api.endpoint import FLAG, Answer, Endpoint, Parameter
from supervisor.api.guard.problems import Kind
from supervisor.api.guard.rules import Access
from supervisor.api.handlers import jobs
from supervisor.api.schemas import diagnosis

DIAGNOSIS_ENDPOINTS = (
    Endpoint(
        "GET",
        "/jobs/{id}/processes",
        jobs.processes,
        Access.READ,
        group="Look",
        summary="List a job's processes",
        about="The processes that the job has now, with the host's pids. CPU use is measured for 0.1 s.",
        answers=(Answer(200, "The processes, parents first.", diagnosis.ProcessesJson),),
        problems=(Kind.INVALID, Kind.NOT_FOUND),
        example='curl $URL/jobs/$ID/processes -H "$AUTH"',
    ),
    Endpoint(
        "GET",
        "/jobs/{id}/stack",
        jobs.stack,
        Access.READ,
        group="Look",
        summary="See where a job's Python code is",
        about=(
            "The stacks of all threads of the job's runner, also while C code holds the interpreter lock. The job is "
            "not disturbed: none of its system calls is interrupted. A runner that is stopped gives `stack: null` and "
            "a `note`. With `native` the frames of C code are there too; that takes py-spy (the extra `native`), and "
            "stops the job for some milliseconds."
        ),
        answers=(Answer(200, "The stacks, main thread first, innermost call first.", diagnosis.StackJson),),
        parameters=(Parameter("native", FLAG, "Also the frames of C code."),),
        problems=(Kind.INVALID, Kind.NOT_FOUND, Kind.CONFLICT),
        example='curl $URL/jobs/$ID/stack -H "$AUTH" | jq -r .stack',
    ),
)
