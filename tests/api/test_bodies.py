"""Valid request bodies. Any other body gets a 422 that names the field, never a 500, and starts nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.wire import AnyServer

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(faked: AnyServer) -> AnyServer:
    return faked


def body(**changes: Any) -> dict[str, Any]:
    return {"task": "shell", "input": {"command": "true"}} | changes


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"   ", "empty"),
        (b"{", "not JSON"),
        (b"{}x", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b"3", "must be a JSON object"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"task": "\xff"}', "not UTF-8"),
        (b'{"task": "a\nb"}', "not JSON"),
        (b'{"timeout_s": NaN}', "NaN"),
        (b'{"timeout_s": -Infinity}', "Infinity"),
        (b'{"timeout_s": 1e999}', "too large"),
        (b'{"timeout_s": 1' + b"0" * 5000 + b"}", "too long"),
        (b'{"task": "a", "task": "b"}', "twice"),
        (b'{"input": {"a": 1, "a": 2}}', "twice"),
        (b'{"a":' * 100_000, "deeper"),
        (b"[" * 500_000, "deeper"),
        (b'{"input": {"a": ' + b"[" * 70 + b"]" * 70 + b"}}", "deeper"),
        (b'{"task": "shell", "input": {"command": "a\\u0000b"}}', "NUL"),
        (b'{"task": "shell", "input": {"a\\u0000b": 1}}', "NUL"),
        (b'{"task": "shell", "input": {"command": "\\ud800"}}', "surrogate"),
        (b'{"\\ud800": 1, "\\ud800": 2}', "twice"),
    ],
)
def test_json_that_is_not_valid_is_rejected(server: AnyServer, data: bytes, said: str) -> None:
    for path in ("/jobs", "/execute/stream"):
        reply = server.ask("POST", path, headers=JSON, data=data)
        assert (reply.status, reply.problem) == (422, "invalid")
        assert said in reply.json["detail"]


@pytest.mark.parametrize(
    "sent",
    [
        {"k" * 900_000: 1},
        body(input={"command": "true", "k" * 900_000: 1}),
        body(input={"command": "true", "env": {"k" * 900_000: 1}}),
        {f"k{number}": 1 for number in range(45_000)},
        body(input={"command": "true"} | {f"k{number}": 1 for number in range(45_000)}),
    ],
    ids=["a name", "a name in the input", "a name further in", "names", "names in the input"],
)
def test_a_refusal_does_not_grow_with_the_body(server: AnyServer, sent: dict[str, Any]) -> None:
    reply = server.ask("POST", "/jobs", headers=JSON, data=json.dumps(sent).encode())
    assert (reply.status, reply.problem) == (422, "invalid")
    assert len(json.dumps(reply.json)) < 20_000


def test_a_path_leads_to_the_bad_value(server: AnyServer) -> None:
    reply = server.ask("POST", "/jobs", headers=JSON, data=b'{"task": "t", "input": {"a": [0, {"b": "\\u0000"}]}}')
    assert reply.fields == ["input.a.1.b"]


def test_whole_surrogate_pairs_are_text(server: AnyServer) -> None:
    data = b'{"task": "shell", "input": {"command": "echo \\ud83d\\ude00"}, "labels": {"a": "\xc3\xa4"}}'
    reply = server.ask("POST", "/jobs", headers=JSON, data=data)
    assert reply.status == 202
    assert reply.json["input"]["command"] == "echo \U0001f600"
    assert reply.json["labels"] == {"a": "ä"}
    server.ended(reply.json["id"])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"task": None}, "task"),
        ({"task": 3}, "task"),
        ({"task": ""}, "task"),
        ({"task": "no-such-task"}, "task"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": {"command": 3}}, "input.command"),
        ({"input": {"command": "true", "nonsense": 1}}, "input.nonsense"),
        ({"id": ""}, "id"),
        ({"id": "a b"}, "id"),
        ({"id": "a\n"}, "id"),
        ({"id": "ä"}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"id": 7}, "id"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": -1}, "timeout_s"),
        ({"timeout_s": "3"}, "timeout_s"),
        ({"timeout_s": True}, "timeout_s"),
        ({"on_disconnect": "maybe"}, "on_disconnect"),
        ({"on_disconnect": 1}, "on_disconnect"),
        ({"labels": []}, "labels"),
        ({"labels": {"a": 1}}, "labels.a"),
        ({"labels": {"a:b": "c"}}, "labels.a:b"),
        ({"labels": {"": "c"}}, "labels."),
        ({"labels": {"a": "x" * 257}}, "labels.a"),
        ({"labels": {str(i): "" for i in range(33)}}, "labels"),
        ({"limits": []}, "limits"),
        ({"limits": {"processes": 0}}, "limits.processes"),
        ({"limits": {"processes": 1.5}}, "limits.processes"),
        ({"limits": {"memory_bytes": "1G"}}, "limits.memory_bytes"),
        ({"limits": {"memory_bytes": 2**51}}, "limits.memory_bytes"),
        ({"limits": {"cpus": 0}}, "limits.cpus"),
        ({"limits": {"files": 1}}, "limits.files"),
        ({"lease_s": 0}, "lease_s"),
        ({"lease_s": "3"}, "lease_s"),
        ({"lease_s": 86_401}, "lease_s"),
        ({"keep_files": 0}, "keep_files"),
        ({"containment": "pgroup"}, "containment"),
        ({"containment": "handcuffs"}, "containment"),
        ({"containment": 3}, "containment"),
        ({"reconnect_grace_s": -1}, "reconnect_grace_s"),
        ({"reconnect_grace_s": "1"}, "reconnect_grace_s"),
        ({"nonsense": 1}, "nonsense"),
        ({"Task": "shell"}, "Task"),
    ],
)
def test_a_wrong_field_is_named(server: AnyServer, changes: dict[str, Any], field: str) -> None:
    for path in ("/jobs", "/execute/stream"):
        reply = server.ask("POST", path, body(**changes))
        assert (reply.status, reply.problem, set(reply.fields)) == (422, "invalid", {field})


def test_every_wrong_field_is_named_at_once(server: AnyServer) -> None:
    reply = server.ask("POST", "/jobs", {"inputs": {}, "timeout_s": 0})
    assert sorted(reply.fields) == ["input", "inputs", "task", "timeout_s"]


def test_null_is_the_same_as_nothing(server: AnyServer) -> None:
    names = ("id", "timeout_s", "on_disconnect", "labels", "limits", "containment", "keep_files", "lease_s")
    reply = server.ask("POST", "/jobs", body(**dict.fromkeys(names), reconnect_grace_s=None))
    assert reply.status == 202
    assert reply.json["labels"] == {}
    assert reply.json["on_disconnect"] == "cancel"
    server.ended(reply.json["id"])


def test_a_number_is_what_it_is_however_it_is_written(server: AnyServer) -> None:
    """JSON has one kind of number: 3.0 and 3e0 are integers."""
    demo = b'{"task": "demo", "input": {"seconds": 1e-1, "steps": %b}, "timeout_s": 6e1, "id": "%b"}'
    for name, steps in ((b"dotted", b"3.0"), (b"scientific", b"3e0")):
        reply = server.ask("POST", "/jobs", headers=JSON, data=demo % (steps, name))
        assert (reply.status, reply.json["input"]) == (202, {"seconds": 0.1, "steps": 3})
        assert server.ended(name.decode())["result"]["steps"] == 3
    assert server.ask("POST", "/jobs", headers=JSON, data=demo % (b"3", b"dotted")).status == 200
    for steps in (b"3.5", b"1e300"):
        assert server.ask("POST", "/jobs", headers=JSON, data=demo % (steps, b"other")).fields == ["input.steps"]


@pytest.mark.parametrize("more", [{"keep_files": True}, {"containment": "auto"}, {"containment": "subreaper"}])
def test_harmless_values_pass(server: AnyServer, more: dict[str, Any]) -> None:
    reply = server.ask("POST", "/jobs", body(**more))
    assert reply.status == 202
    server.ended(reply.json["id"])


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ä"])
def test_wrong_idempotency_keys(server: AnyServer, key: str) -> None:
    reply = server.ask("POST", "/jobs", body(), headers={"Idempotency-Key": key})
    assert (reply.status, reply.fields) == (422, ["Idempotency-Key"])


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"reason": "x" * 201}, "reason"),
        ({"reason": 3}, "reason"),
        ({"force": "yes"}, "force"),
        ({"budget_s": 0.1}, "budget_s"),
        ({"budget_s": 2.1}, "budget_s"),
        ({"budget_s": "1"}, "budget_s"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_wrong_cancels_are_not_kept(server: AnyServer, sent: dict[str, Any], field: str) -> None:
    reply = server.ask("POST", "/jobs/refused/cancel", sent)
    assert (reply.status, reply.fields) == (422, [field])
    created = server.ask("POST", "/jobs", body(id="refused"))
    assert created.status in {200, 202}
    assert server.ended("refused")["state"] == "succeeded"


def test_nothing_of_all_this_was_a_bug(server: AnyServer) -> None:
    assert "Traceback" not in server.log.read_text()
