"""The route table, and nothing else."""

from __future__ import annotations

from starlette.routing import Route

from supervisor.api.handlers import files, jobs, pages, server, streams

ROUTES = (
    Route("/execute/stream", streams.execute_stream, methods=["POST"]),
    Route("/jobs", jobs.create, methods=["POST"]),
    Route("/jobs", jobs.list_jobs, methods=["GET"]),
    Route("/jobs/{id}", jobs.show, methods=["GET"]),
    Route("/jobs/{id}", jobs.forget, methods=["DELETE"]),
    Route("/jobs/{id}/events", streams.of_job, methods=["GET"]),
    Route("/jobs/{id}/cancel", jobs.cancel, methods=["POST"]),
    Route("/jobs/{id}/input", jobs.write_input, methods=["POST"]),
    Route("/jobs/{id}/lease", jobs.renew_lease, methods=["POST"]),
    Route("/jobs/{id}/files", files.list_files, methods=["GET"]),
    Route("/jobs/{id}/files/{path:anything}", files.download, methods=["GET"]),
    Route("/jobs/{id}/processes", jobs.processes, methods=["GET"]),
    Route("/jobs/{id}/stack", jobs.stack, methods=["GET"]),
    Route("/tasks", server.list_tasks, methods=["GET"]),
    Route("/events", streams.of_all, methods=["GET"]),
    Route("/livez", server.livez, methods=["GET"]),
    Route("/readyz", server.readyz, methods=["GET"]),
    Route("/health", server.health, methods=["GET"]),
    Route("/health/stuck", server.stuck, methods=["GET"]),
    Route("/metrics", server.metrics, methods=["GET"]),
    Route("/session", pages.sign_in, methods=["POST"]),
    Route("/session", pages.sign_out, methods=["DELETE"]),
    Route("/openapi.json", pages.openapi, methods=["GET"]),
    Route("/docs", pages.docs, methods=["GET"]),
    Route("/problems/{name}", pages.problem, methods=["GET"]),
    Route("/", pages.home, methods=["GET"]),
    Route("/assets/{name}", pages.asset, methods=["GET"]),
)
