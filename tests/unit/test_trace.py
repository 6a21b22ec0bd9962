"""Which headers of a caller are passed on, and what happens to invalid ones."""

from __future__ import annotations

import re

import pytest

from supervisor.core.jobs.trace import Trace

GOOD = f"00-{'a1' * 16}-{'b2' * 8}-01"


def test_a_good_one_is_continued_by_a_span_of_our_own() -> None:
    trace = Trace.begin("r-1", GOOD, "vendor=x")
    assert re.fullmatch(f"00-{'a1' * 16}-[0-9a-f]{{16}}-01", trace.traceparent)
    assert trace.traceparent != GOOD
    environment = trace.environment()
    assert environment == {"DEADSTOP_REQUEST_ID": "r-1", "TRACEPARENT": trace.traceparent, "TRACESTATE": "vendor=x"}


def test_a_later_version_is_read_as_ours() -> None:
    trace = Trace.begin(None, f"01-{'a1' * 16}-{'b2' * 8}-03-more", None)
    assert trace.trace_id == "a1" * 16
    assert trace.traceparent.startswith("00-")
    assert trace.traceparent.endswith("-01")


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "",
        "nonsense",
        GOOD.upper(),
        f"{GOOD}-more",
        f"ff-{'a1' * 16}-{'b2' * 8}-01",
        f"00-{'0' * 32}-{'b2' * 8}-01",
        f"00-{'a1' * 16}-{'0' * 16}-01",
        GOOD + "\n",
    ],
)
def test_a_bad_one_begins_an_unsampled_trace_and_its_state_is_dropped(bad: str | None) -> None:
    trace = Trace.begin("r", bad, "vendor=x")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", trace.traceparent)
    assert trace.trace_id not in {"a1" * 16, "0" * 32}
    assert "TRACESTATE" not in trace.environment()


@pytest.mark.parametrize("bad", [None, "", "a b", "x" * 129, "a\nb", "é"])
def test_a_request_id_that_would_forge_lines_is_replaced(bad: str | None) -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", Trace.begin(bad, GOOD, None).request_id)
