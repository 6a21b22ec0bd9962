"""The handler that monitoring systems ask."""

from __future__ import annotations

from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

from supervisor.api.service import service_of


async def metrics(request: Request) -> Response:
    """Prometheus' text format, or OpenMetrics with exemplars for those who accept it."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(service_of(request).supervisor.metrics.registry), headers={"Content-Type": content_type})
