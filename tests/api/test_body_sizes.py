"""The sizes that request bodies may have, and the time that large ones take from others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.wire import AnyServer

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(faked: AnyServer) -> AnyServer:
    return faked


@pytest.mark.parametrize("path", ["/session", "/jobs/never-was/cancel", "/jobs/never-was/lease", "/nowhere"])
def test_small_bodies_have_a_small_bound(server: AnyServer, path: str) -> None:
    data = b'{"nonsense":"' + b"x" * (16 << 10) + b'"}'
    token = path != "/session"
    assert server.ask("POST", path, headers=JSON, data=data, token=token).problem == "too-large"
    assert server.ask("POST", path, headers=JSON, data=data[:100] + b'"}', token=token).status in {404, 422}


def test_typed_text_may_be_escaped(server: AnyServer) -> None:
    data = b'{"text":"' + b"\\u0001" * (64 << 10) + b'"}'
    assert server.ask("POST", "/jobs/never-was/input", headers=JSON, data=data).status == 404
    assert server.ask("POST", "/jobs/never-was/input", headers=JSON, data=data[:-2] + b'\\u0001"}').status == 422


@pytest.mark.parametrize(
    ("item", "said"),
    [(b"1", "more than 50000"), (b'""', "more than 50000"), (b"[[[1]]]", "more than 50000"), (b"[", "deeper")],
)
def test_a_body_of_many_values_does_not_delay_other_requests(server: AnyServer, item: bytes, said: str) -> None:
    """Bodies of the largest size, and a request without a token: responses are short, and the loop is never late."""
    data = b'{"task":"shell","input":{"argv":[' + b",".join([item] * ((1 << 20) // (len(item) + 1) - 50)) + b"]}}"
    for path in ("/jobs", "/execute/stream"):
        reply = server.ask("POST", path, headers=JSON, data=data)
        assert said in reply.json["detail"]
        assert len(reply.body) < 1_000
    small = b'{"token":[' + b",".join([item] * 1_000) + b"]}"
    reply = server.ask("POST", "/session", headers=JSON, data=small, token=False)
    assert (reply.status, len(reply.body) < 1_000) == (422, True)


def test_the_most_values_that_a_body_may_have_are_checked(server: AnyServer) -> None:
    """Valid and invalid values are checked off the event loop. The first invalid ones are named."""
    texts = body(input={"argv": ["true", *["x"] * 20_000]}, id="many")
    assert server.ask("POST", "/jobs", texts).status == 202
    server.ended("many")
    reply = server.ask("POST", "/jobs", body(input={"argv": [1] * 40_000}))
    assert (reply.status, reply.fields) == (422, ["input.argv.0"])
    assert len(reply.body) < 10_000


def body(**changes: Any) -> dict[str, Any]:
    return {"task": "shell", "input": {"command": "true"}} | changes
