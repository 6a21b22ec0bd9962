"""A server that sends the responses a test asks for, over a real socket.

The real server is the subject of other tests. This one does what a real server rarely does: it cuts streams in the
middle, forgets jobs, refuses requests, stays silent, and never proves an end.

A test gives each job a script, an async function that emits events through its `Stage`:

    async def script(stage):
        await stage.emit("job.queued")
        await stage.cancelled.wait()
        await stage.finish_cancelled()
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.stage import Json, Stage

Script = Callable[["Stage"], Awaitable[None]]

TOKEN = "fake-token"
SHELL = {
    "name": "shell",
    "description": "A command in a terminal.",
    "input_schema": {
        "type": "object",
        "properties": {
            "command": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "terminal": {"type": "boolean", "default": True},
            "cwd": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        },
    },
}
ADD = {
    "name": "add",
    "description": "Adds.",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
LABELLED = {
    "name": "thumbnails",
    "description": "",
    "input_schema": {
        "type": "object",
        "properties": {"width": {"type": "integer", "default": 320}, "folder": {"type": "string"}},
        "required": ["folder"],
    },
}


class FakeServer:
    """Use it as a context manager; `url` is then its address. It runs on an event loop in a thread of its own."""

    def __init__(self, script: Script | None = None, *, token: str = TOKEN) -> None:
        self.script = script
        self.token = token
        self.tasks: list[dict[str, Json]] = [SHELL, ADD, LABELLED]
        self.jobs: dict[str, Stage] = {}
        self.forgetful = False
        self.refusals: list[Response] = []
        """Responses to the next requests that create a job, each used once."""
        self.cancels: list[tuple[str, dict[str, Json]]] = []
        self.requests: list[str] = []
        self.health: dict[str, Json] = {"status": "ok", "version": "1", "counts": {}, "checks": {}}
        self._plays: set[asyncio.Task[None]] = set()
        routes = [
            Route("/tasks", self._tasks),
            Route("/execute/stream", self._execute, methods=["POST"]),
            Route("/jobs", self._create, methods=["POST"]),
            Route("/jobs", self._list),
            Route("/jobs/{id}", self._job),
            Route("/jobs/{id}/events", self._events),
            Route("/jobs/{id}/cancel", self._cancel, methods=["POST"]),
            Route("/jobs/{id}/processes", lambda _: JSONResponse({"processes": []})),
            Route("/health", lambda _: JSONResponse(self.health)),
        ]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        # A cut is an exception inside a response: uvicorn would print its traceback.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = _QuickToEnd(config)
        self._thread = threading.Thread(target=self._serve, name="fake-server")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listener.close()

    def close_door(self) -> None:
        """Accept no new connections. Open ones stay."""
        for listener in self._server.servers:
            listener.close()
        self._listener.close()

    def _serve(self) -> None:
        asyncio.run(self._server.serve([self._listener]))

    def _door(self, request: Request) -> Response | None:
        self.requests.append(f"{request.method} {request.url.path}")
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return problem(401, "unauthorized", "the token is missing or wrong")
        return None

    async def _tasks(self, request: Request) -> Response:
        return self._door(request) or JSONResponse({"tasks": self.tasks})

    async def _execute(self, request: Request) -> Response:
        refused = self._door(request) or await self._admitted(request)
        return refused or self._streamed(self.jobs[(await request.json())["id"]], 0)

    async def _create(self, request: Request) -> Response:
        refused = self._door(request) or await self._admitted(request)
        return refused or JSONResponse(self.jobs[(await request.json())["id"]].job(), 202)

    async def _admitted(self, request: Request) -> Response | None:
        if self.refusals:
            return self.refusals.pop(0)
        body = await request.json()
        stage = self.jobs[body["id"]] = Stage(body["id"], body)
        assert self.script is not None, "this test expects no job"
        play = asyncio.ensure_future(self.script(stage))
        self._plays.add(play)
        play.add_done_callback(self._plays.discard)
        return None

    async def _list(self, request: Request) -> Response:
        wanted = request.query_params.get("state")
        found = [stage.job() for stage in self.jobs.values() if wanted is None or stage.state in wanted.split(",")]
        return self._door(request) or JSONResponse({"jobs": found, "next_cursor": None})

    async def _job(self, request: Request) -> Response:
        stage = self._find(request)
        return self._door(request) or (JSONResponse(stage.job()) if stage else not_found())

    async def _events(self, request: Request) -> Response:
        stage = self._find(request)
        refused = self._door(request)
        if refused or stage is None:
            return refused or not_found()
        after = int(request.headers.get("last-event-id") or request.query_params.get("after") or 0)
        if request.headers.get("accept") == "application/json":
            return JSONResponse({"events": stage.events[after:], "last_event_id": len(stage.events)})
        if stage.over and after >= len(stage.events):
            return Response(status_code=204)
        return self._streamed(stage, after)

    async def _cancel(self, request: Request) -> Response:
        refused = self._door(request)
        if refused:
            return refused
        body = json.loads(await request.body() or b"{}")
        self.cancels.append((request.path_params["id"], body))
        stage = self._find(request)
        if stage is None:
            return JSONResponse({"id": request.path_params["id"], "state": "unknown", "kept_for_s": 30}, 202)
        stage.cancelled.set()
        if body.get("force"):
            stage.forced.set()
        for _ in range(int(float(request.query_params.get("wait", "0")) * 50)):
            if stage.over:
                break
            await asyncio.sleep(0.02)
        return JSONResponse(stage.job(), 200 if stage.over else 202)

    def _find(self, request: Request) -> Stage | None:
        return None if self.forgetful else self.jobs.get(request.path_params["id"])

    def _streamed(self, stage: Stage, after: int) -> Response:
        return StreamingResponse(stage.stream(after), media_type="text/event-stream")


class _QuickToEnd(uvicorn.Server):
    """uvicorn ends politely in a few tenths of a second, which many tests would add up."""

    async def main_loop(self) -> None:
        while not self.should_exit:
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in self.servers:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in self.server_state.tasks:
            task.cancel()
        await asyncio.sleep(0)


def problem(status: int, kind: str, detail: str, *, headers: dict[str, str] | None = None, **more: Json) -> Response:
    body = {"type": f"/problems/{kind}", "title": kind, "status": status, "detail": detail, **more}
    return JSONResponse(body, status, headers, "application/problem+json")


def not_found() -> Response:
    return problem(404, "not-found", "no such job")
