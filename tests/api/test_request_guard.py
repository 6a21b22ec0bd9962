"""The order of the checks on a request: each test breaks several rules at once, and the first check rejects it."""

from __future__ import annotations

import pytest

from tests.api.raw_stream import RawStream, send_without_end
from tests.api.wire import AnyServer

JSON = {"Content-Type": "application/json"}
GOOD = b'{"task":"shell","input":{"command":"true"}}'


@pytest.fixture(scope="module")
def server(faked: AnyServer) -> AnyServer:
    return faked


def test_wrong_host_comes_before_a_missing_token(server: AnyServer) -> None:
    reply = server.ask("POST", "/jobs", headers={"Host": "evil.example", "Origin": "http://evil.example"}, token=False)
    assert (reply.status, reply.problem) == (421, "wrong-host")


def test_missing_token_comes_before_a_foreign_origin(server: AnyServer) -> None:
    reply = server.ask("POST", "/jobs", headers={"Origin": "http://evil.example"}, token=False, data=b"x")
    assert (reply.status, reply.problem) == (401, "unauthorized")
    assert reply.headers["www-authenticate"].startswith("Bearer")


def test_foreign_origin_comes_before_the_content_type(server: AnyServer) -> None:
    reply = server.ask("POST", "/jobs", headers={"Origin": "http://evil.example"}, data=b"x")
    assert (reply.status, reply.problem) == (403, "forbidden-origin")


def test_content_type_comes_before_the_size(server: AnyServer) -> None:
    reply = server.ask("POST", "/jobs", headers={"Content-Type": "text/plain"}, data=b"x" * (2 << 20))
    assert (reply.status, reply.problem) == (415, "unsupported-media-type")


def test_size_comes_before_the_input(server: AnyServer) -> None:
    reply = server.ask("POST", "/jobs", headers=JSON, data=b"x" * ((1 << 20) + 1))
    assert (reply.status, reply.problem) == (413, "too-large")


def test_exactly_one_mebibyte_passes(server: AnyServer) -> None:
    data = GOOD[:-1] + b" " * ((1 << 20) - len(GOOD)) + b"}"
    reply = server.ask("POST", "/jobs", headers=JSON, data=data)
    assert reply.status == 202
    server.ended(reply.json["id"])


def test_a_large_body_without_a_length_is_cut_off(server: AnyServer) -> None:
    """The size is known only while the body arrives, and the client still receives the refusal."""
    with server.connect() as sock:
        sock.sendall(server.head("POST", "/jobs", "Content-Type: application/json", "Transfer-Encoding: chunked"))
        sock.sendall(b"\r\n" + (b"10000\r\n" + b" " * 0x10000 + b"\r\n") * 40 + b"0\r\n\r\n")
        stream = RawStream(sock)
        assert stream.status == 413


def test_an_announced_large_body_is_refused_before_it_is_sent(server: AnyServer) -> None:
    with server.connect() as sock:
        announced = ("Content-Type: application/json", "Content-Length: 4000000000", "Expect: 100-continue")
        sock.sendall(server.head("POST", "/jobs", *announced) + b"\r\n")
        stream = RawStream(sock)
        assert stream.status == 413
        assert "connection: close" in stream.head


def test_a_refused_upload_is_not_read_for_ever(server: AnyServer) -> None:
    with server.connect() as sock:
        announced = ("Content-Type: application/json", "Content-Length: 4000000000")
        sock.sendall(server.head("POST", "/jobs", *announced) + b"\r\n")
        assert RawStream(sock).status == 413
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_without_end(sock, b" " * 100_000)


@pytest.mark.parametrize("path", ["/jobs", "/livez"])
@pytest.mark.parametrize("size", [15_000, 17_000, 60_000, 300_000])
def test_a_large_head_is_refused_also_when_it_comes_at_once(server: AnyServer, path: str, size: int) -> None:
    """The parser's own bound applies only to incomplete heads."""
    heads = (
        server.head("GET", path, "X-A: " + "a" * size),
        server.head("GET", path, *["X-A: b"] * (size // 8)),
        server.head("GET", f"{path}?{'a' * size}"),
    )
    for head in heads:
        with server.connect() as sock:
            sock.sendall(head + b"\r\n")
            assert RawStream(sock).status == (200 if size < 16_000 else 431)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.2:99", "[::1]", "[::1]:8700", "localhost.", "a.localhost"],
)
def test_loopback_names_always_pass(server: AnyServer, host: str) -> None:
    assert server.ask("GET", "/tasks", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "[::1].evil", "localhost:x", "localhost@evil", ""]
)
def test_other_names_do_not(server: AnyServer, host: str) -> None:
    assert server.ask("GET", "/tasks", headers={"Host": host}).status == 421


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://localhost/tasks", 200),
        ("HTTP://127.0.0.1:1/jobs?limit=1", 200),
        ("http://localhost/jobs?limit=0", 422),
        ("http://localhost/jobs/%61%20b", 422),
        ("http://localhost/nowhere", 404),
        ("http://evil.example/tasks", 421),  # whatever the Host header contains
        ("http://localhost@evil.example/tasks", 421),
        ("http://evil.example/livez", 200),
        ("http://[/tasks", 404),
    ],
)
def test_a_whole_url_is_asked_for_by_its_own_host(server: AnyServer, target: str, status: int) -> None:
    with server.stream("GET", target) as stream:
        assert stream.status == status


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/readyz?verbose"])
def test_probes_need_neither_host_nor_token(server: AnyServer, path: str) -> None:
    assert server.ask("GET", path, headers={"Host": "10.1.2.3"}, token=False).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_list_their_checks_when_asked(server: AnyServer, path: str) -> None:
    assert "checks" not in server.ask("GET", path, token=False).json
    checks = server.ask("GET", f"{path}?verbose", token=False).json["checks"]
    assert checks
    assert all(check["ok"] is True and check["detail"] for check in checks.values())


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_show_no_path(server: AnyServer, path: str) -> None:
    checks = server.ask("GET", f"{path}?verbose", token=False).json["checks"]
    assert not [check["detail"] for check in checks.values() if "/" in check["detail"]]


@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer ", "Bearer wrong", "Basic {token}", "{token}", "Bearer {token}x", "Bearer \xff"]
)
def test_only_the_token_opens(server: AnyServer, authorization: str) -> None:
    header = authorization.format(token=server.token)
    reply = server.ask("GET", "/jobs", token=False, headers={"Authorization": header})
    assert (reply.status, reply.problem) == (401, "unauthorized")


def test_two_authorization_headers_are_none(server: AnyServer) -> None:
    with server.stream("GET", "/jobs", None, "Authorization: Bearer wrong") as stream:
        assert stream.status == 401


@pytest.mark.parametrize("path", ["/nowhere", "/jobs/x/nowhere", "/jobs/"])
def test_unknown_routes_are_behind_the_doors_and_then_404(server: AnyServer, path: str) -> None:
    assert server.ask("GET", path, token=False).status == 401
    assert server.ask("GET", path).problem == "not-found"


def test_a_wrong_method_names_the_right_ones(server: AnyServer) -> None:
    reply = server.ask("PUT", "/jobs")
    assert (reply.status, reply.problem) == (405, "method-not-allowed")
    assert reply.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    "origin", ["null", "http://localhost:1", "https://127.0.0.1:1", "http://127.0.0.1", "x", "http://["]
)
def test_foreign_origins(server: AnyServer, origin: str) -> None:
    assert server.ask("POST", "/jobs", headers=JSON | {"Origin": origin}, data=GOOD).status == 403
    assert server.ask("GET", "/jobs", headers={"Origin": origin}).status == 200


def test_its_own_origin_passes(server: AnyServer) -> None:
    reply = server.ask("POST", "/jobs", headers=JSON | {"Origin": server.url}, data=GOOD)
    assert reply.status == 202
    server.ended(reply.json["id"])


def test_a_page_without_origin_is_recognized_by_its_fetch_metadata(server: AnyServer) -> None:
    reply = server.ask("POST", "/jobs", headers=JSON | {"Sec-Fetch-Site": "cross-site"}, data=GOOD)
    assert reply.problem == "forbidden-origin"


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_other_content_types(server: AnyServer, content_type: str) -> None:
    assert server.ask("POST", "/jobs", headers={"Content-Type": content_type}, data=GOOD).status == 415


def test_a_compressed_body_is_not_json(server: AnyServer) -> None:
    assert server.ask("POST", "/jobs", headers=JSON | {"Content-Encoding": "gzip"}, data=GOOD).status == 415


def test_content_type_with_parameters(server: AnyServer) -> None:
    reply = server.ask("POST", "/jobs", headers={"Content-Type": "Application/JSON; charset=utf-8"}, data=GOOD)
    assert reply.status == 202
    server.ended(reply.json["id"])


def test_nothing_of_all_this_was_a_bug(server: AnyServer) -> None:
    log = server.log.read_text()
    assert "Traceback" not in log
    assert server.token not in log
