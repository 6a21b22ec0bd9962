"""A task that holds resources and never releases them: TASKS=tests.children.holding.

The runner holds each of them in a global. Where a descriptor can be inherited, a daemon holds it as well. The job
writes a log line, HELD, that lists what an observer has to look for.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, Literal

from runner import Context, task
from runner.cancellation import Cancellation
from runner.protocol import RunTask
from runner.reporter import Reporter
from runner.stdin import JobStdin

LIFETIME_S = "20"
"""After this the daemon is gone by itself."""
STEP_S = 0.02
TERMINALS = 3

_kept = contextlib.ExitStack()
_kept_browser = contextlib.AsyncExitStack()
_objects: list[object] = []
Facts = dict[str, list[Any]]


def _terminal(ctx: Context, _shared: Path) -> tuple[Facts, list[int]]:
    names = []
    for _ in range(TERMINALS):
        terminal = _kept.enter_context(ctx.terminal(f"trap '' HUP; tty; exec sleep {LIFETIME_S}", show=False))
        names.append(terminal.wait_for(r"(/dev/pts/\d+)\s", 10)[1])
    return {"terminals": names}, []


def _file(ctx: Context, _shared: Path) -> tuple[Facts, list[int]]:
    ctx.out.mkdir(exist_ok=True)
    half = ctx.out / "half.txt"
    half.write_text("old\n", encoding="utf-8")
    draft = _kept.enter_context(ctx.open_atomic(half))
    draft.write("new, but never complete\n")
    temporary = tempfile.NamedTemporaryFile(delete=False)  # noqa: SIM115 - it is to be left
    plain = (ctx.workspace / "notes.txt").open("w", encoding="utf-8")
    _objects.extend([temporary, plain])
    return {"paths": [str(half), temporary.name, plain.name]}, [temporary.fileno(), plain.fileno()]


def _directory(_ctx: Context, _shared: Path) -> tuple[Facts, list[int]]:
    folder = Path(tempfile.mkdtemp())
    inner = folder / "read only"
    inner.mkdir()
    (inner / "file").touch()
    inner.chmod(0o500)
    fd = os.open(inner, os.O_RDONLY)
    return {"paths": [str(folder)]}, [fd]


def _lock(_ctx: Context, shared: Path) -> tuple[Facts, list[int]]:
    whole, record = shared / "whole.lock", shared / "record.lock"
    fds = [os.open(path, os.O_RDWR | os.O_CREAT) for path in (whole, record)]
    fcntl.flock(fds[0], fcntl.LOCK_EX)
    fcntl.lockf(fds[1], fcntl.LOCK_EX)
    return {"locks": [str(whole), str(record)]}, fds


def _socket(_ctx: Context, _shared: Path) -> tuple[Facts, list[int]]:
    path = f"{os.environ['XDG_RUNTIME_DIR']}/held.sock"
    abstract = f"deadstop-{uuid.uuid4().hex}"
    named, nameless, tcp = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX), socket.socket()
    named.bind(os.path.relpath(path))  # a socket's path has at most 107 bytes
    nameless.bind(f"\0{abstract}")
    tcp.bind(("127.0.0.1", 0))
    for listening in (named, nameless, tcp):
        listening.listen()
    _objects.extend([named, nameless, tcp])
    facts: Facts = {"paths": [path], "abstract": [abstract], "ports": [tcp.getsockname()[1]]}
    return facts, [named.fileno(), nameless.fileno(), tcp.fileno()]


def _shared_memory(_ctx: Context, _shared: Path) -> tuple[Facts, list[int]]:
    memory = SharedMemory(create=True, size=1 << 20)
    semaphore = get_context("spawn").Semaphore(1)
    _objects.extend([memory, semaphore])
    name: str = semaphore._semlock.name  # type: ignore[attr-defined]
    return {"shm": [memory.name.lstrip("/"), f"sem.{name.lstrip('/')}"]}, []


def _browser(ctx: Context, _shared: Path) -> tuple[Facts, list[int]]:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def start() -> None:
        browser = await _kept_browser.enter_async_context(ctx.browser())
        await browser.open("data:text/html,<title>held</title>")

    asyncio.run_coroutine_threadsafe(start(), loop).result()
    return {"paths": [str(path) for path in Path(tempfile.gettempdir()).glob("browser-*")]}, []


HOLDERS: dict[str, Callable[[Context, Path], tuple[Facts, list[int]]]] = {
    "terminal": _terminal,
    "file": _file,
    "directory": _directory,
    "lock": _lock,
    "socket": _socket,
    "shm": _shared_memory,
    "browser": _browser,
}
LIGHT = [name for name in HOLDERS if name != "browser"]
"""The resources that are acquired quickly."""


@task
def hold(
    ctx: Context, what: list[str], beacon: str, shared: str, then: Literal["return", "raise", "wait"] = "wait"
) -> str:
    """Hold every resource named in `what`. Ends when the file `go` appears in `shared`, or when it is stopped."""
    ctx.out.mkdir(exist_ok=True)
    (ctx.out / "result.txt").write_text("done\n", encoding="utf-8")
    found: Facts = {}
    inherited = [os.open(beacon, os.O_WRONLY)]
    for name in what:
        facts, fds = HOLDERS[name](ctx, Path(shared))
        inherited += fds
        for kind, entries in facts.items():
            found.setdefault(kind, []).extend(entries)
    subprocess.Popen(["sleep", LIFETIME_S], start_new_session=True, pass_fds=inherited, stdin=subprocess.DEVNULL)
    os.write(inherited[0], b"!")
    fields: dict[str, Any] = dict(found)
    ctx.log("HELD", **fields)
    while not (Path(shared) / "go").exists():
        ctx.sleep(STEP_S)
    if then == "raise":
        raise RuntimeError("as asked")
    return "as asked"


def main(channel_fd: int, shared: str) -> None:
    """The same without a server, as a process of its own, for a negative control."""
    cancellation = Cancellation(lambda: None)
    channel = socket.socket(fileno=channel_fd)
    reporter = Reporter(channel, cancellation)
    work = RunTask("control", __name__, "hold", {}, str(Path.cwd()), {})
    ctx = Context(work, cancellation, reporter, JobStdin(reporter.send))
    hold(ctx, LIGHT, f"{shared}/beacon", shared)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
