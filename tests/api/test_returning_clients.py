"""Effects of a restart on queued jobs whose clients hold them: they run for a client that returns."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.api.raw_stream import PATIENCE_S, RawStream
from tests.api.restarts import body, end, events_of, one_at_a_time, read_on, types
from tests.api.wire import RealServer, real_server


def held_in_the_queue(server: RealServer, how: signal.Signals) -> None:
    """A client streams a job "held" that waits for its turn; then the server ends."""
    with server.stream("POST", "/execute/stream", body("echo held", id="held")) as stream:
        stream.until("job.queued")
        server.process.send_signal(how)
        frames = closing_frames(stream)
    server.process.wait(PATIENCE_S)
    if how is signal.SIGTERM:
        assert frames[-1]["event"] == "stream.closing"
        assert "id" not in frames[-1]


def closing_frames(stream: RawStream) -> list[dict[str, str]]:
    read_on(stream)
    return stream.frames()


def test_a_queued_job_whose_client_comes_back_runs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with one_at_a_time(state) as server:
        held_in_the_queue(server, signal.SIGKILL)
    with real_server(state) as server:
        assert server.job("held")["state"] == "queued"
        with server.stream("POST", "/execute/stream", body("echo held", id="held")) as stream:
            stream.read_to_end()
        assert types(stream.events())[0] == "job.queued"
        assert stream.events()[-1]["type"] == "job.succeeded"
        assert [event["id"] for event in stream.events()] == list(range(1, len(stream.events()) + 1))


def test_a_queued_job_whose_client_stays_away_never_starts(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with one_at_a_time(state) as server:
        held_in_the_queue(server, signal.SIGTERM)
    with real_server(state) as server:
        began = time.monotonic()
        # A reader of the events does not count as the client that holds the job.
        events = events_of(server, "held")
        waited_s = time.monotonic() - began
        job = server.job("held")
        assert types(events) == ["job.queued", "cancel.requested", "cancel.verified", "job.cancelled"]
        assert (job["cancellation"]["reason"], job["cancellation"]["method"]) == (
            "client_disconnected",
            "never_started",
        )
        assert waited_s < 5.5


def test_a_cancel_reaches_a_job_that_waits_for_its_client(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with one_at_a_time(state) as server:
        held_in_the_queue(server, signal.SIGTERM)
    with real_server(state) as server:
        answer = server.ask("POST", "/jobs/held/cancel")
        assert (answer.status, answer.json["state"], answer.json["cancellation"]["reason"]) == (200, "cancelled", "api")


def test_a_stream_that_does_not_hold_its_job_leaves_it_queued(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with one_at_a_time(state) as server:
        with server.stream("POST", "/execute/stream", body("echo on", id="on", on_disconnect="continue")) as stream:
            stream.until("job.queued")
        end(server, signal.SIGTERM)
    with real_server(state) as server:
        assert events_of(server, "on")[-1]["type"] == "job.succeeded"
