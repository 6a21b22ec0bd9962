"""The life of a server process: the order in which it starts and stops.

Start: signals, state folder, socket; only then processes. A failure before that prints one line and leaves nothing
behind. Stop: no new jobs; jobs are stopped and proven gone; their streams end with their last events; the other streams
and the connections are closed; processes end; the folder is released.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import cast

import structlog
import uvicorn
from starlette.applications import Starlette

from supervisor import logs
from supervisor.api.app import create_app
from supervisor.api.guard.connections import Connections, bound_for
from supervisor.api.web.accepting import Acceptor
from supervisor.api.web.drain import Drain
from supervisor.api.web.http_connection import ClientTimeouts, HttpConnection
from supervisor.api.web.listening import BACKLOG, listen, url_of
from supervisor.api.web.signals import Stop, leave_after, reset_inherited
from supervisor.api.web.state_files import TOKEN_FILE, StateFiles
from supervisor.config import Settings, unknown_variables
from supervisor.core.loop.loop_clock import ClockedLoop
from supervisor.core.supervisor import Supervisor
from supervisor.errors import NotReady, StartupError

READY_TIMEOUT_S = 10.0
"""After this time the server is announced although it is not ready. The next line says why, as does /readyz."""
READY_POLL_S = 0.02
RESPONSES_TIMEOUT_S = 1
"""How long uvicorn waits for responses. `HttpConnection.shutdown` cuts off clients that do not read theirs earlier."""
END_MARGIN_S = 5.0
"""How much longer than two budgets the shutdown may take before the process exits without completing it."""
KEEP_ALIVE_S = 15

log = structlog.get_logger()


def serve_until_stopped(settings: Settings, make_supervisor: Callable[[], Supervisor]) -> int:
    """Serve until a signal. Return the exit code: 0 after SIGTERM or SIGHUP, 130 after SIGINT, 3 when a job could
    not be proven gone, 1 when the server could not start (one line on standard error says why) or broke.
    """
    logs.configure()
    reset_inherited()
    _warn_of_unknown(settings)
    try:
        with (
            StateFiles(settings.state_dir) as folder,
            _listening(settings) as sock,
            asyncio.Runner(loop_factory=ClockedLoop) as runner,
        ):
            return runner.run(_run(settings, make_supervisor, folder, sock))
    except StartupError as exc:
        logs.say_why_not_started(f"deadstop: {exc}")
        return 1


def _warn_of_unknown(settings: Settings) -> None:
    for name, close in unknown_variables(settings).items():
        hint = "" if close is None else f"; did you mean {close}?"
        log.warning("unknown_variable", variable=name, words=f"{name} is not a setting{hint}")


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    sock = listen(settings.host, settings.port)
    try:
        yield sock
    finally:
        sock.close()


async def _run(
    settings: Settings, make_supervisor: Callable[[], Supervisor], folder: StateFiles, sock: socket.socket
) -> int:
    stop = Stop()
    with stop.installed():
        token = settings.token.get_secret_value() if settings.token is not None else folder.token()
        async with make_supervisor() as supervisor:
            drain = Drain()
            connections = Connections(bound_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
            app = create_app(supervisor, token=token, drain=drain, connections=connections)
            timeouts = ClientTimeouts(frozen_s=settings.frozen_after_s, clock=supervisor.clock)
            web = _Web(
                _web_config(app, partial(HttpConnection, timeouts=timeouts, connections=connections)), connections
            )
            serving = asyncio.create_task(web.serve([sock]))
            announcing = asyncio.create_task(_announce(supervisor, folder, url_of(sock)))
            try:
                await _first(serving, stop.asked)
                leave_after(2 * settings.cancel_budget_s + END_MARGIN_S, "could not end in time, and left")
                await _stop_jobs(supervisor, stop)
            finally:
                announcing.cancel()
                folder.remove_note()
                supervisor.feed.close()
                drain.start()
                web.exit()
                await serving
            unproven = supervisor.unproven()
    if unproven:
        logs.say(f"deadstop: not proven gone: {', '.join(unproven)}", event="not_proven_gone", level="error")
        return 3
    return stop.exit_code if stop.first is not None else 1


async def _first(serving: asyncio.Task[None], asked: asyncio.Event) -> None:
    """Wait for a signal, or for the web server to end without one."""
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _stop_jobs(supervisor: Supervisor, stop: Stop) -> None:
    stopping = asyncio.create_task(supervisor.shutdown())
    forced = asyncio.create_task(stop.forced.wait())
    await asyncio.wait({stopping, forced}, return_when=asyncio.FIRST_COMPLETED)
    forced.cancel()
    if not stopping.done():
        await supervisor.shutdown(force=True)
    await stopping


async def _announce(supervisor: Supervisor, folder: StateFiles, url: str) -> None:
    """Wait until jobs are accepted, and print the address."""
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not _ready(supervisor):  # noqa: ASYNC110  # checks are computed when asked, nothing announces them
                await asyncio.sleep(READY_POLL_S)
    try:
        folder.note(url)
    except StartupError as exc:
        # The address can still be given to clients by hand.
        log.warning("server_note_failed", error=str(exc))
    aside = supervisor.journal.damaged
    if aside is not None:
        line = f"deadstop: the journal was damaged; it is kept as {aside}, and a new one was begun"
        logs.say(line, event="journal_damaged", level="warning")
    token = f"token in {folder.path / TOKEN_FILE}" if supervisor.settings.token is None else "token as set"
    words = f"deadstop: serving {url} ({token}; state in {folder.path}; containment {supervisor.containment.words})"
    logs.say(words, event="serving", url=url)
    for line in _not_yet(supervisor):
        logs.say(f"deadstop: {line}", event="not_ready", level="warning")
    for line in supervisor.containment.lines():
        logs.say(f"deadstop: {line}", event="containment_covers")


def _not_yet(supervisor: Supervisor) -> list[str]:
    """Return a line for each reason why the server, though announced, is not ready."""
    failing = {name: check for name, check in supervisor.checks().items() if check.required and not check.ok}
    lines = [f"takes no jobs yet: {name}: {check.detail}" for name, check in failing.items()]
    pending = ", ".join(sorted(supervisor.pending_modules))
    return [*lines, *([f"does not take the tasks of {pending} yet: still importing"] if pending else [])]


def _ready(supervisor: Supervisor) -> bool:
    try:
        supervisor.tasks()
    except NotReady:
        return False
    return all(check.ok for check in supervisor.checks().values() if check.required)


def _web_config(app: Starlette, make: Callable[..., HttpConnection]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        # uvicorn only calls it, so it need not be a class.
        http=cast("type[asyncio.Protocol]", make),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=RESPONSES_TIMEOUT_S,
    )


class _Web(uvicorn.Server):
    """uvicorn without its signal handlers and its ten wake-ups a second, and with our own way to accept."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections
        self._exit = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        config = self.config

        def make() -> asyncio.Protocol:
            return config.http_protocol_class(config=config, server_state=self.server_state, app_state={})  # type: ignore[call-arg]

        acceptors = [Acceptor(sock, make, self._connections) for sock in sockets or []]
        self.servers = cast("list[asyncio.Server]", acceptors)  # uvicorn closes them and waits for them
        self.started = True

    async def main_loop(self) -> None:
        while not self._exit.is_set():
            # The tick renews the Date header; 0 says that a whole second has passed.
            await self.on_tick(0)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._exit.wait(), 1.0)

    def exit(self) -> None:
        self.should_exit = True
        self._exit.set()
