"""How much one token may have: jobs, streams and requests."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.api.in_process import in_process_server
from tests.api.named_tokens import LONG, TOKENS, of
from tests.api.wire import AnyServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyServer]:
    state_dir = tmp_path_factory.mktemp("limits") / "state"
    with in_process_server(state_dir, tokens=json.dumps(TOKENS)) as running:
        yield running
        assert running.active() == 0, running.log.read_text()


def test_one_token_runs_and_queues_only_so_much(server: AnyServer) -> None:
    small, alice = of(server, "small"), of(server, "alice")
    states = [small.ask("POST", "/jobs", LONG | {"id": f"small-{number}"}) for number in range(3)]
    assert [reply.status for reply in states] == [202, 202, 429]
    assert states[2].problem == "queue-full"
    assert int(states[2].headers["retry-after"]) >= 1
    with small.stream("GET", "/jobs/small-0/events") as stream:
        stream.until('"text": "up')
    assert small.job("small-1")["state"] == "queued"
    # Others are not held up by it.
    alice.ended(alice.run("true"))
    for number in (0, 1):
        small.ask("POST", f"/jobs/small-{number}/cancel?wait=5")


def test_one_token_opens_only_so_many_streams(server: AnyServer) -> None:
    small = of(server, "small")
    job_id = small.run("echo up; sleep 60")
    with small.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "up')
        for refused in (
            small.ask("GET", "/events"),
            small.ask("GET", f"/jobs/{job_id}/events"),
            small.ask("POST", "/execute/stream", LONG | {"id": "no-stream"}),
        ):
            assert (refused.status, refused.problem) == (429, "too-many-requests")
            assert int(refused.headers["retry-after"]) >= 1
        # A refused stream has made no job, and reading the events as a document does not count as a stream.
        assert small.ask("GET", "/jobs/no-stream").status == 404
        assert small.ask("GET", f"/jobs/{job_id}/events?follow=false").status == 200
        assert small.ask("POST", f"/jobs/{job_id}/cancel?wait=5").json["state"] == "cancelled"
        stream.read_to_end()
    small.ended(job_id)


def test_one_token_asks_only_so_often_but_cancels_and_looks_always(server: AnyServer) -> None:
    slow = of(server, "slow")
    assert slow.ask("GET", "/jobs").status == 200
    refused = slow.ask("GET", "/jobs")
    assert (refused.status, refused.problem) == (429, "too-many-requests")
    assert 1 <= int(refused.headers["retry-after"]) <= 50
    for _ in range(5):
        assert slow.ask("POST", "/jobs/nobody/cancel").status == 202
        assert slow.ask("GET", "/health").status == 200
        assert slow.ask("GET", "/livez").status == 200
    assert of(server, "alice").ask("GET", "/jobs").status == 200
