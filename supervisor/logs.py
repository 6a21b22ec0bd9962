"""Logging: structlog and the standard library in one pipeline, to standard error.

If standard error is a terminal, lines are formatted for people, otherwise as JSON. That includes Python's warnings,
uncaught exceptions and the notices for the person who started the server. A separate thread writes the lines, and drops
them while standard error is blocked: a pipe that is not read must delay neither the event loop nor a cancel.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MAX_WAITING_LINES = 5_000
FLUSH_BOUND_S = 0.3
"""How long the process waits at its end until the remaining lines are written."""
_STDERR = 2


class _LineWriter(threading.Thread):
    """Writes lines to a file descriptor. `put` never blocks and never fails."""

    def __init__(self, fd: int) -> None:
        super().__init__(name="log-writer", daemon=True)
        self._fd = fd
        self._lines: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING_LINES)
        self._dropped = 0
        self.used = False
        """Whether any line was put."""

    def put(self, line: bytes) -> None:
        self.used = True
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write(line)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                lost = f"deadstop: {dropped} log lines were lost, standard error was blocked"
                self._write(notice(lost, event="lines_lost", level="warning"))

    def finish(self) -> None:
        """Wait until everything is written, FLUSH_BOUND_S at most."""
        try:
            self._lines.put(None, timeout=FLUSH_BOUND_S)
        except queue.Full:
            return
        self.join(FLUSH_BOUND_S)

    def _write(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError:
            # The reader has gone (EPIPE) or the disk is full. There is no other place to report it.
            return


class _Handler(logging.Handler):
    def __init__(self, writer: _LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        self._writer.put(text.encode("utf-8", "backslashreplace") + b"\n")


def configure(*, level: int = logging.INFO) -> None:
    """Set up logging for this process. Call it once; loggers made earlier by `structlog.get_logger()` follow."""
    writer = _LineWriter(_STDERR)
    writer.start()
    atexit.register(writer.finish)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _Handler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers()],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Its information repeats our own line at the start, and its warnings are about clients that do not speak HTTP.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # An exception of a task or callback that is not awaited is a bug: log it at every level.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _renderers() -> list[Processor]:
    if not _is_json():
        return [structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ)]
    return [structlog.processors.format_exc_info, _one_line_first, structlog.processors.JSONRenderer(default=str)]


def _one_line_first(_logger: WrappedLogger, _name: str, event_dict: EventDict) -> EventDict:
    """Move the fields that people look for first to the front of the line."""
    front: dict[str, Any] = {key: event_dict.pop(key) for key in ("at", "level", "event") if key in event_dict}
    return {**front, **event_dict}


def _is_json() -> bool:
    return not os.isatty(_STDERR)


def _uncaught(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("deadstop").critical("uncaught", exc_info=(kind, exc, trace))


def _uncaught_in_thread(met: threading.ExceptHookArgs) -> None:
    if met.exc_value is not None:
        _uncaught(met.exc_type, met.exc_value, met.exc_traceback)


def notice(line: str, *, event: str, level: str = "info", **fields: str) -> bytes:
    """Return an encoded line for the person who started the server, as JSON if the log is JSON."""
    if _is_json():
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = json.dumps({"at": at, "level": level, "event": event, "message": line, **fields})
    return line.encode("utf-8", "backslashreplace") + b"\n"


def say(line: str, *, event: str, level: str = "info", **fields: str) -> None:
    """Write a notice. Like logging, it neither blocks nor fails."""
    _put(notice(line, event=event, level=level, **fields))


def say_why_not_started(line: str) -> None:
    """Write why the server does not start. Use a plain line for people, unless lines of the log came before it."""
    if any(writer.used for writer in _writers()):
        say(line, event="not_started", level="error")
    else:
        _put(line.encode("utf-8", "backslashreplace") + b"\n")


def _put(line: bytes) -> None:
    for writer in _writers():
        writer.put(line)
        return
    sys.stderr.write(line.decode("utf-8", "replace"))


def _writers() -> list[_LineWriter]:
    return [thread for thread in threading.enumerate() if isinstance(thread, _LineWriter)]
