"""The API in the test's own process, on the fake engine: real sockets, and no job has a process.

Use it to test requests, responses and streams. Hang-ups that must end processes need the real server (`wire.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from anyio.from_thread import start_blocking_portal
from uvicorn.server import ServerState

from supervisor.api.app import create_app
from supervisor.api.guard.connections import Connections
from supervisor.api.web.drain import Drain
from supervisor.api.web.http_connection import ClientTimeouts, HttpConnection
from supervisor.core.loop.loop_clock import ClockedLoop
from tests.api.wire import AnyServer
from tests.support.core import running_on, until
from tests.support.fake_engine import FakeEngine
from tests.support.fake_shell import FakeShell

TOKEN = "the-token-of-the-server-in-this-process"


@dataclass
class InProcessServer(AnyServer):
    url: str
    token: str
    log: Path


@contextmanager
def in_process_server(state_dir: Path, **settings: Any) -> Iterator[InProcessServer]:
    """Serve on a free port, from a thread with a loop of its own. `settings` are named as in `load_settings`."""
    log = state_dir.with_suffix(".log")
    with (
        _logging_to(log),
        start_blocking_portal(backend_options={"loop_factory": ClockedLoop}) as portal,
        portal.wrap_async_context_manager(_serving(state_dir, settings)) as port,
    ):
        server = InProcessServer(f"http://127.0.0.1:{port}", TOKEN, log)
        # What is made once for a loop is made now, such as sse-starlette's task.
        assert server.ask("POST", "/jobs", {"task": "demo", "input": {}, "id": "first"}).status == 202
        server.ended("first")
        assert server.ask("DELETE", "/jobs/first").status == 204
        yield server


@asynccontextmanager
async def _serving(state_dir: Path, settings: dict[str, Any]) -> AsyncIterator[int]:
    async with running_on(FakeEngine(FakeShell), state_dir, **settings) as supervisor:
        drain, connections, state = Drain(), Connections(), ServerState()
        app = create_app(supervisor, token=TOKEN, drain=drain, connections=connections)
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, ws="none", server_header=False)
        config.load()
        timeouts = ClientTimeouts(clock=supervisor.clock)
        protocol = partial(HttpConnection, timeouts=timeouts, connections=connections)
        make = partial(protocol, config=config, server_state=state, app_state={})
        listening = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        try:
            yield listening.sockets[0].getsockname()[1]
        finally:
            listening.close()
            supervisor.feed.close()
            drain.start()
            for connection in list(state.connections):
                connection.shutdown()
            await until(lambda: not state.connections and not state.tasks)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Write what the server logs to a file, tracebacks too."""
    with path.open("w", encoding="utf-8") as file:
        handler = logging.StreamHandler(file)
        logging.getLogger().addHandler(handler)
        structlog.configure(
            processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
            logger_factory=structlog.PrintLoggerFactory(file),
        )
        try:
            yield
        finally:
            structlog.reset_defaults()
            logging.getLogger().removeHandler(handler)
