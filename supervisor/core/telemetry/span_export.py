"""Send spans to an OpenTelemetry collector. This needs the extra `otel`, and uses OpenTelemetry's own variables.

It is on if OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT names the collector (OTLP over HTTP), and
OTEL_SDK_DISABLED is not true. The other OTEL_* variables set headers, resource attributes and batches.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

import supervisor
from supervisor.core.telemetry.spans import Span, Spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

CLOSE_BOUND_S = 1.0
"""How long the shutdown waits for unsent spans. An unreachable collector must not delay it longer."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

log = structlog.get_logger()


def wanted(environment: Mapping[str, str]) -> bool:
    """Return whether the environment names a collector for spans."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    none = environment.get("OTEL_TRACES_EXPORTER", "otlp") == "none"
    return not disabled and not none and any(environment.get(name) for name in _ENDPOINTS)


def open_spans(stack: AsyncExitStack) -> Spans | None:
    """Return spans that are sent until `stack` is closed. Return None if they are off, or (logged) not possible."""
    if not wanted(os.environ):
        return None
    try:
        export = SpanExport()
    except ImportError as exc:
        log.warning("traces_off", error=f"cannot send traces: {exc}; install deadstop[otel]")
    except ValueError as exc:
        log.warning("traces_off", error=f"cannot send traces: {exc}; look at the OTEL_* variables")
    else:
        stack.push_async_callback(asyncio.to_thread, export.close)
        return Spans(export.tell)
    return None


class SpanExport:
    """Sends spans in batches, in a thread of its own. `tell` never blocks, and drops spans beyond a limit."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        named = "service.name" in OTELResourceDetector().detect().attributes
        about = {"service.version": supervisor.__version__} | ({} if named else {"service.name": "deadstop"})
        self._resource = Resource.create(about)
        self._processor = BatchSpanProcessor(OTLPSpanExporter())

    def tell(self, span: Span) -> None:
        self._processor.on_end(self._readable(span))

    def close(self) -> None:
        """Send the remaining spans, in a bounded time."""
        closing = threading.Thread(target=self._processor.shutdown, name="span-export-end", daemon=True)
        closing.start()
        closing.join(CLOSE_BOUND_S)

    def _readable(self, span: Span) -> ReadableSpan:
        from opentelemetry.sdk.trace import Event, ReadableSpan  # noqa: PLC0415
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        status = Status() if span.error is None else Status(StatusCode.ERROR, span.error)
        return ReadableSpan(
            span.name,
            context=_context(span.trace_id, span.span_id, remote=False),
            parent=None if span.parent_id is None else _context(span.trace_id, span.parent_id, remote=True),
            resource=self._resource,
            attributes=span.attributes,
            events=[Event(mark.name, mark.attributes, _ns(mark.at)) for mark in span.marks],
            status=status,
            start_time=_ns(span.begin),
            end_time=_ns(span.end),
        )


def _context(trace_id: str, span_id: str, *, remote: bool) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415

    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(TraceFlags.SAMPLED))


def _ns(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
