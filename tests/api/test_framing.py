"""Where a request ends: lengths, chunks, two framings at once, and bytes that are not HTTP."""

from __future__ import annotations

import json
import socket

import pytest

from tests.api.raw_stream import RawStream
from tests.api.wire import AnyServer


@pytest.fixture(scope="module")
def server(faked: AnyServer) -> AnyServer:
    return faked


@pytest.mark.parametrize(
    "framing", ["Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "\r\n"]
)
def test_an_empty_body_needs_no_content_type(server: AnyServer, framing: str) -> None:
    with server.connect() as sock:
        sock.sendall(server.head("POST", "/jobs/never-was/cancel") + framing.encode())
        assert RawStream(sock).status == 202


def test_a_chunked_body_needs_one(server: AnyServer) -> None:
    with server.connect() as sock:
        sock.sendall(server.head("POST", "/jobs", "Transfer-Encoding: chunked") + b"\r\n2\r\n{}\r\n0\r\n\r\n")
        assert RawStream(sock).status == 415


@pytest.mark.parametrize("path", ["/jobs", "/livez", "/session", "/nowhere"])
@pytest.mark.parametrize("length", [0, 4, 30, 1000])
def test_two_framings_in_one_request_end_the_connection(server: AnyServer, path: str, length: int) -> None:
    """A proxy that trusts the length would take the second request for a body, or a body for a request."""
    smuggled = server.head("GET", "/jobs") + b"\r\n"
    framing = (f"Content-Length: {length}", "Content-Type: application/json", "Transfer-Encoding: chunked")
    with server.connect() as sock:
        sock.sendall(server.head("POST", path, *framing) + b"\r\n0\r\n\r\n" + smuggled)
        answer = b"".join(iter(lambda: sock.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer.lower()


def test_one_framing_leaves_the_connection_open(server: AnyServer) -> None:
    """The control: two requests, each with an answer."""
    for framing, content in (("Content-Length: 2", b"{}"), ("Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n")):
        with server.connect() as sock:
            head = server.head("POST", "/jobs", framing, "Content-Type: application/json")
            sock.sendall(head + b"\r\n" + content + server.head("GET", "/livez", "Connection: close") + b"\r\n")
            answer = b"".join(iter(lambda: sock.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 422 ")
        assert b"HTTP/1.1 200 " in answer


@pytest.mark.parametrize(("size", "status"), [(1, 400), (64, 422)])
def test_a_body_in_tiny_chunks_is_cut(server: AnyServer, size: int, status: int) -> None:
    """Parsing a chunk costs the same whatever it contains. The larger chunks are the control."""
    with server.connect() as sock:
        head = server.head("POST", "/jobs", "Content-Type: application/json", "Transfer-Encoding: chunked")
        chunk = f"{size:x}\r\n{' ' * size}\r\n".encode()
        sock.sendall(head + b"\r\n" + chunk * 3_000 + b"0\r\n\r\n")
        assert RawStream(sock).status == status


def test_who_leaves_while_sending_starts_nothing(server: AnyServer) -> None:
    before = server.ask("GET", "/jobs?limit=500").json["jobs"]
    sock = server.connect()
    sock.sendall(server.stream_request({"task": "shell", "input": {"command": "sleep 9"}})[:-5])
    sock.close()
    assert server.ask("GET", "/jobs?limit=500").json["jobs"] == before
    assert server.active() == 0


@pytest.mark.parametrize("garbage", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n"])
def test_bytes_that_are_not_http_get_a_problem_and_no_traceback(server: AnyServer, garbage: bytes) -> None:
    with server.connect() as sock:
        sock.sendall(garbage + b"\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: sock.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["type"].endswith("/bad-request")


def test_nothing_of_all_this_was_a_bug(server: AnyServer) -> None:
    log = server.log.read_text()
    assert "Traceback" not in log
    assert server.token not in log
