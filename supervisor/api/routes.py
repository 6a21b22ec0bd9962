"""The route table, and nothing else."""

from __future__ import annotations

from starlette.routing import Route

from supervisor.api import assets, events, files, health, job_input, jobs, metrics, session, tasks

ROUTES = (
    Route("/execute/stream", events.execute_stream, methods=["POST"]),
    Route("/jobs", jobs.create, methods=["POST"]),
    Route("/jobs", jobs.list_jobs, methods=["GET"]),
    Route("/jobs/{id}", jobs.show, methods=["GET"]),
    Route("/jobs/{id}", jobs.forget, methods=["DELETE"]),
    Route("/jobs/{id}/events", events.of_job, methods=["GET"]),
    Route("/jobs/{id}/cancel", jobs.cancel, methods=["POST"]),
    Route("/jobs/{id}/input", job_input.write, methods=["POST"]),
    Route("/jobs/{id}/lease", jobs.renew_lease, methods=["POST"]),
    Route("/jobs/{id}/files", files.list_files, methods=["GET"]),
    Route("/jobs/{id}/files/{path:anything}", files.download, methods=["GET"]),
    Route("/jobs/{id}/processes", jobs.processes, methods=["GET"]),
    Route("/jobs/{id}/stack", jobs.stack, methods=["GET"]),
    Route("/tasks", tasks.list_tasks, methods=["GET"]),
    Route("/events", events.of_all, methods=["GET"]),
    Route("/livez", health.livez, methods=["GET"]),
    Route("/readyz", health.readyz, methods=["GET"]),
    Route("/health", health.health, methods=["GET"]),
    Route("/health/stuck", health.stuck, methods=["GET"]),
    Route("/metrics", metrics.metrics, methods=["GET"]),
    Route("/session", session.sign_in, methods=["POST"]),
    Route("/session", session.sign_out, methods=["DELETE"]),
    Route("/openapi.json", session.openapi, methods=["GET"]),
    Route("/docs", session.docs, methods=["GET"]),
    Route("/problems/{name}", session.problem, methods=["GET"]),
    Route("/", session.home, methods=["GET"]),
    Route("/assets/{name}", assets.asset, methods=["GET"]),
)
