"""Named tokens: what each may do, and whose jobs it sees."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.api.app import rule_book
from supervisor.api.endpoint import Endpoint
from supervisor.api.endpoints import ENDPOINTS
from supervisor.tokens import Scope
from tests.api.in_process import in_process_server
from tests.api.named_tokens import LONG, TOKENS, of
from tests.api.wire import RealServer, Reply, real_server

WITHOUT_TOKEN = {
    ("GET", "/livez"),
    ("HEAD", "/livez"),
    ("GET", "/readyz"),
    ("HEAD", "/readyz"),
    ("POST", "/session"),
    ("DELETE", "/session"),
    ("GET", "/assets/{name}"),
    ("HEAD", "/assets/{name}"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    state_dir = tmp_path_factory.mktemp("tokens") / "state"
    with real_server(state_dir, TOKENS=json.dumps(TOKENS)) as running:
        yield running
        assert running.active() == 0, running.log.read_text()


def every_operation(server: RealServer) -> set[tuple[str, str]]:
    """Method and path of all there is, from the table that serves and from the description of it."""
    table = {(method, route.path) for route in map(Endpoint.route, ENDPOINTS) for method in route.methods or ()}
    described = server.ask("GET", "/openapi.json").json["paths"]
    assert len(table) > 20
    return table | {(method.upper(), path) for path, methods in described.items() for method in methods}


def concrete(path: str, job_id: str = "some-job") -> str:
    return re.sub(r"\{[^}]*\}", "x", path.replace("{id}", job_id))


def ask(server: RealServer, method: str, path: str, *, token: bool = True) -> Reply:
    data = b"{}" if method in {"POST", "PUT", "PATCH"} else None
    return server.ask(method, path, token=token, data=data, headers={"Content-Type": "application/json"})


def test_every_route_needs_a_token_but_those_that_must_not(server: RealServer) -> None:
    operations = every_operation(server)
    assert operations >= WITHOUT_TOKEN
    for method, path in sorted(operations - WITHOUT_TOKEN):
        for asked in (server, replace(server, token="wrong")):
            reply = ask(asked, method, concrete(path), token=asked is not server)
            assert reply.status == 401, f"{method} {path} answered {reply}"
    for method, path in WITHOUT_TOKEN:
        assert ask(server, method, path, token=False).status in {200, 204, 404, 422}


def test_every_route_has_its_scope(server: RealServer) -> None:
    for method, path in sorted(every_operation(server) - WITHOUT_TOKEN):
        needed = rule_book(ENDPOINTS).find(method, concrete(path)).access.scope
        for name, scope in (("watch", Scope.READ), ("push", Scope.SUBMIT)):
            if needed not in {None, scope}:
                reply = ask(of(server, name), method, concrete(path))
                assert reply.status == 403, f"{method} {path} answered {name} {reply}"
                assert method == "HEAD" or reply.problem == "missing-scope"
    described = server.ask("GET", "/openapi.json").json["paths"]
    assert described["/jobs"]["post"]["x-scope"] == "submit"
    assert described["/jobs"]["get"]["x-scope"] == "read"
    assert "missing-scope" in described["/jobs"]["get"]["responses"]["403"]["description"]


def test_a_scope_is_enough_for_what_it_is_for(server: RealServer) -> None:
    push, watch = of(server, "push"), of(server, "watch")
    job = push.ask("POST", "/jobs", LONG | {"id": "pushed"})
    assert job.status == 202
    assert push.ask("GET", "/jobs/pushed").status == 403
    assert push.ask("GET", "/tasks").status == 200
    assert push.ask("POST", "/jobs/pushed/cancel?wait=5").json["state"] == "cancelled"
    assert push.ask("DELETE", "/jobs/pushed").status == 204
    assert watch.ask("GET", "/jobs").json["jobs"] == []
    assert watch.ask("POST", "/jobs", LONG).problem == "missing-scope"


def test_anothers_job_does_not_exist(server: RealServer) -> None:
    """On every route with an id the answer is the one for an id that was never used."""
    alice, bob, boss = of(server, "alice"), of(server, "bob"), of(server, "boss")
    assert alice.ask("POST", "/jobs", LONG | {"id": "alices"}).status == 202
    with alice.stream("GET", "/jobs/alices/events") as stream:
        stream.until('"text": "up')
    with_id = sorted(operation for operation in every_operation(server) if "{id}" in operation[1])
    assert len(with_id) >= 8
    for method, path in with_id:
        hers, nobodys = (ask(bob, method, concrete(path, job_id)) for job_id in ("alices", "nobody"))
        assert hers.status == nobodys.status, f"{method} {path}"
        assert hers.status in {404, 422} or path.endswith("/cancel"), f"{method} {path} answered {hers}"
        assert hers.body.replace(b"alices", b"nobody") == nobodys.body, f"{method} {path}"
    assert alice.job("alices")["state"] == "running"
    assert bob.ask("GET", "/jobs").json["jobs"] == []
    assert sum(bob.ask("GET", "/health").json["counts"].values()) == 0
    assert boss.job("alices")["state"] == "running"
    assert server.job("alices")["state"] == "running"
    assert boss.ask("POST", "/jobs/alices/cancel?wait=5").json["state"] == "cancelled"


def test_an_id_that_is_taken_tells_nothing_else(server: RealServer) -> None:
    alice, bob = of(server, "alice"), of(server, "bob")
    assert alice.ask("POST", "/jobs", LONG | {"id": "taken"}).status == 202
    replies = [
        bob.ask("POST", path, body | {"id": "taken"})
        for path in ("/jobs", "/execute/stream")
        for body in (LONG, {"task": "demo", "input": {}})
    ]
    assert {reply.problem for reply in replies} == {"conflict"}
    assert len({reply.body for reply in replies}) == 1
    assert alice.ask("POST", "/jobs", LONG | {"id": "taken"}).status == 200
    alice.ask("POST", "/jobs/taken/cancel?wait=5")


def test_keys_and_early_cancels_are_the_tokens_own(server: RealServer) -> None:
    alice, bob = of(server, "alice"), of(server, "bob")
    key = {"Idempotency-Key": "monday", "Content-Type": "application/json"}
    ids = [each.ask("POST", "/jobs", LONG, headers=key).json["id"] for each in (alice, bob, alice)]
    assert ids[0] == ids[2] != ids[1]
    for each, job_id in ((alice, ids[0]), (bob, ids[1])):
        each.ask("POST", f"/jobs/{job_id}/cancel?wait=5")
    assert bob.ask("POST", "/jobs/early/cancel").json["state"] == "unknown"
    assert alice.ask("POST", "/jobs", LONG | {"id": "early"}).json["state"] != "cancelled"
    # Hers runs, so for him the id is still unknown, and stays so.
    assert bob.ask("POST", "/jobs/early/cancel").json["state"] == "unknown"
    alice.ask("POST", "/jobs/early/cancel?wait=5")
    assert alice.ask("POST", "/jobs/late/cancel").json["state"] == "unknown"
    assert alice.ask("POST", "/jobs", LONG | {"id": "late"}).json["cancellation"]["method"] == "never_started"


def test_the_feed_shows_the_tokens_own_jobs(server: RealServer) -> None:
    alice, bob, boss = of(server, "alice"), of(server, "bob"), of(server, "boss")
    with (
        bob.stream("GET", "/events") as his,
        boss.stream("GET", "/events") as all_,
        alice.stream("GET", "/events") as her,
    ):
        assert [stream.status for stream in (his, all_, her)] == [200, 200, 200]
        made = {name: of(server, name).run("echo hello") for name in ("alice", "bob")}
        for name, job_id in made.items():
            of(server, name).ended(job_id)
        all_.until(f'"job_id": "{made["alice"]}", "type": "job.succeeded"')
        all_.until(f'"job_id": "{made["bob"]}", "type": "job.succeeded"')
        his.until("job.succeeded")
        her.until("job.succeeded")
    assert {event["job_id"] for event in his.events()} == {made["bob"]}
    assert {event["job_id"] for event in her.events()} == {made["alice"]}


def test_a_session_has_the_scope_of_its_token(server: RealServer) -> None:
    def sign_in(token: str) -> dict[str, str]:
        reply = server.ask("POST", "/session", {"token": token}, token=False)
        assert reply.status == 204
        cookie, *attributes = reply.headers["set-cookie"].split("; ")
        assert {"HttpOnly", "SameSite=Strict"} <= set(attributes)
        return {"Cookie": cookie}

    watching, bossing = sign_in("only-watches"), sign_in("the-boss")
    post = {"Content-Type": "application/json"}
    assert server.ask("GET", "/jobs", token=False, headers=watching).json["jobs"] == []
    refused = server.ask("POST", "/jobs", token=False, headers=watching | post, data=json.dumps(LONG).encode())
    assert refused.problem == "missing-scope"
    job_id = of(server, "alice").run("true")
    of(server, "alice").ended(job_id)
    assert server.ask("GET", f"/jobs/{job_id}", token=False, headers=watching).status == 404
    assert server.ask("GET", f"/jobs/{job_id}", token=False, headers=bossing).status == 200


def test_a_submit_token_gets_its_stream_and_hangs_up(server: RealServer) -> None:
    push = of(server, "push")
    with push.stream("POST", "/execute/stream", LONG | {"id": "push-stream"}) as stream:
        stream.until('"text": "up')
    assert server.ended("push-stream")["cancellation"]["reason"] == "client_disconnected"


def test_no_token_is_ever_logged(server: RealServer) -> None:
    log = server.log.read_text()
    assert "Traceback" not in log
    for secret in (server.token, *(str(entry["token"]) for entry in TOKENS.values())):
        assert secret not in log
        assert secret.encode() not in Path(f"/proc/{server.process.pid}/cmdline").read_bytes()


def test_tasks_can_be_switched_off(tmp_path: Path) -> None:
    with in_process_server(tmp_path / "state", tasks_off="shell,shel") as server:
        for path in ("/jobs", "/execute/stream"):
            reply = server.ask("POST", path, LONG)
            assert (reply.status, reply.fields) == (422, ["task"])
            assert "switched off" in reply.json["errors"][0]["message"]
        assert "shell" not in {task["name"] for task in server.ask("GET", "/tasks").json["tasks"]}
        assert server.ask("POST", "/jobs", {"task": "demo", "input": {}, "id": "demo"}).status == 202
        server.ask("POST", "/jobs/demo/cancel?wait=5")
        # A misspelt name is reported: the operator believes that the task is off.
        health = server.ask("GET", "/health").json
        assert health["status"] == "degraded"
        assert "TASKS_OFF: there is no task 'shel'" in json.dumps(health["checks"])
