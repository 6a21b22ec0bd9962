"""Stands in for an OpenTelemetry collector: takes OTLP over HTTP and keeps the spans."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Proto = Any


class Collector:
    def __init__(self) -> None:
        self.spans: list[Proto] = []
        self.resources: list[dict[str, object]] = []
        self._news = threading.Condition()
        self.url = ""

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._news:
            for group in request.resource_spans:
                self.resources.append(plain(group.resource.attributes))
                for scope in group.scope_spans:
                    self.spans.extend(scope.spans)
            self._news.notify_all()

    def trace_of(self, job_id: str, bound_s: float = 10.0) -> dict[str, Proto]:
        """Wait for the job's own span, which is the last, and return the spans of its trace by name."""
        with self._news:
            assert self._news.wait_for(lambda: self._job(job_id) is not None, bound_s), [s.name for s in self.spans]
            return {span.name: span for span in self.spans if span.trace_id == self._job(job_id).trace_id}

    def _job(self, job_id: str) -> Proto:
        return next((s for s in self.spans if plain(s.attributes).get("deadstop.job_id") == job_id), None)


def plain(attributes: Proto) -> dict[str, object]:
    """Return the attributes as a dict."""
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in attributes}


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
