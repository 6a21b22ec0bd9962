"""The trace context of a job's request, which connects the job's logs with those of its caller and its callees.

`traceparent` and `tracestate` are W3C Trace Context (https://www.w3.org/TR/trace-context/). The job is a span below the
caller's; a task that traces creates its spans below the one in TRACEPARENT.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Trace:
    """The IDs of one request. Missing or invalid ones are generated: a bad header does not reject the request."""

    request_id: str
    traceparent: str
    tracestate: str | None = None
    parent_id: str | None = None
    """The caller's span, None if there is none."""

    @classmethod
    def begin(
        cls, request_id: str | None, traceparent: str | None, tracestate: str | None, *, sampled: bool = False
    ) -> Trace:
        """Return the IDs of a request with these headers, and a new span ID for the job.

        `sampled` decides whether a trace that begins here is sampled. Otherwise the caller has decided.
        """
        known = request_id is not None and _REQUEST_ID.fullmatch(request_id)
        chosen = request_id if known and request_id is not None else secrets.token_hex(8)
        parent = _TRACEPARENT.fullmatch(traceparent or "")
        if parent is None or (parent[1] == "00" and parent[5]):
            return cls(chosen, f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-0{int(sampled)}")
        state = tracestate if tracestate and _TRACESTATE.fullmatch(tracestate) else None
        # We use version 00; of the flags of later versions only "sampled" is known.
        return cls(chosen, f"00-{parent[2]}-{secrets.token_hex(8)}-0{int(parent[4], 16) & 1}", state, parent[3])

    @property
    def trace_id(self) -> str:
        return self.traceparent.split("-")[1]

    @property
    def span_id(self) -> str:
        """The job's own span."""
        return self.traceparent.split("-")[2]

    @property
    def sampled(self) -> bool:
        return self.traceparent.endswith("1")

    def environment(self) -> dict[str, str]:
        """Return the environment variables that pass it to the job's process."""
        found = {"DEADSTOP_REQUEST_ID": self.request_id, "TRACEPARENT": self.traceparent}
        return found if self.tracestate is None else {**found, "TRACESTATE": self.tracestate}
