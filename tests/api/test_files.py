"""Files that a job leaves in `out/`, read over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.api.wire import RealServer, real_server

FILL = (
    "mkdir -p out/sub; printf 0123456789 > out/ten.txt; echo '<script>alert(1)</script>' > out/page.html; "
    "echo x > 'out/sub/ä b#?.csv'; printf x > \"out/$(printf 'raw\\377')\"; ln -s /etc/passwd out/link; "
    "ln -s / out/root; mkfifo out/fifo; printf x > $'out/two\\nlines'; tar czf out/all.tar.gz out/ten.txt"
)


@pytest.fixture(scope="module")
def left(server: RealServer) -> str:
    """A job that has left files."""
    job_id = server.run(FILL)
    assert server.ended(job_id)["state"] == "succeeded"
    return job_id


def test_files_are_listed(server: RealServer, left: str) -> None:
    answer = server.ask("GET", f"/jobs/{left}/files").json
    assert answer["truncated"] is False
    files = {file["path"]: file for file in answer["files"]}
    assert list(files) == ["all.tar.gz", "page.html", "raw\ufffd", "sub/ä b#?.csv", "ten.txt", "two\nlines"]
    assert (files["ten.txt"]["size_bytes"], files["ten.txt"]["content_type"]) == (10, "text/plain; charset=utf-8")
    assert files["all.tar.gz"]["content_type"] == "application/gzip"
    assert files["sub/ä b#?.csv"]["content_type"].startswith("text/csv")
    for file in files.values():
        reply = server.ask("GET", file["href"])
        assert (reply.status, len(reply.body)) == (200, file["size_bytes"])


def test_a_file_is_data_and_never_a_page_of_ours(server: RealServer, left: str) -> None:
    reply = server.ask("GET", f"/jobs/{left}/files/page.html")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-disposition"].startswith('attachment; filename="page.html"')
    assert "sandbox" in reply.headers["content-security-policy"]
    named = server.ask("GET", f"/jobs/{left}/files/sub/%C3%A4%20b%23%3F.csv")
    assert "filename*=UTF-8''%C3%A4%20b%23%3F.csv" in named.headers["content-disposition"]


@pytest.mark.parametrize(
    ("asked", "content", "told"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-500", b"56789", "bytes 5-9/10"),
        ("bytes=-500", b"0123456789", "bytes 0-9/10"),
        ("Bytes=0-18446744073709551615", b"0123456789", "bytes 0-9/10"),
    ],
)
def test_ranges(server: RealServer, left: str, asked: str, content: bytes, told: str) -> None:
    reply = server.ask("GET", f"/jobs/{left}/files/ten.txt", headers={"Range": asked})
    assert (reply.status, reply.body) == (206, content)
    assert reply.headers["content-range"] == told
    assert reply.headers["content-length"] == str(len(content))
    head = server.ask("HEAD", f"/jobs/{left}/files/ten.txt", headers={"Range": asked})
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "10")  # ranges are for GET


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=50-60", "bytes=-0", "bytes=99999999999999999999-"])
def test_ranges_behind_the_end(server: RealServer, left: str, asked: str) -> None:
    reply = server.ask("GET", f"/jobs/{left}/files/ten.txt", headers={"Range": asked})
    assert (reply.status, reply.problem) == (416, "range-not-satisfiable")
    assert reply.headers["content-range"] == "bytes */10"
    assert server.ask("HEAD", f"/jobs/{left}/files/ten.txt", headers={"Range": asked}).status == 200


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=-", "bytes=0-1,3-4", "x"])
def test_ranges_that_need_not_be_served_give_everything(server: RealServer, left: str, asked: str) -> None:
    reply = server.ask("GET", f"/jobs/{left}/files/ten.txt", headers={"Range": asked})
    assert (reply.status, reply.body) == (200, b"0123456789")


def test_conditions(server: RealServer, left: str) -> None:
    first = server.ask("GET", f"/jobs/{left}/files/ten.txt")
    etag, modified = first.headers["etag"], first.headers["last-modified"]
    assert first.headers["accept-ranges"] == "bytes"

    def status(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return server.ask("GET", f"/jobs/{left}/files/ten.txt", headers=named).status

    assert status(If_None_Match=etag) == status(If_Modified_Since=modified) == status(If_None_Match="*") == 304
    assert status(If_None_Match='"other"') == status(If_Modified_Since="nonsense") == 200
    assert status(Range="bytes=0-1", If_Range=etag) == 206
    assert status(Range="bytes=0-1", If_Range='"other"') == 200


@pytest.mark.parametrize(
    "path",
    [
        "nothing", "sub", "", "link", "root/etc/passwd", "fifo",
        "../../token", "..%2F..%2Ftoken", "%2e%2e/%2e%2e/token",
        "sub/../ten.txt", "./ten.txt", "ten.txt/", "/ten.txt", "%2Fetc%2Fpasswd", "ten.txt%00", "sub%5C..%5Cten.txt",
        "x" * 5000,
    ],
)  # fmt: skip
def test_nothing_else_can_be_reached(server: RealServer, left: str, path: str) -> None:
    reply = raw_get(server, f"/jobs/{left}/files/{path}")
    assert reply[0] == 404, reply
    assert b"root:" not in reply[1]
    assert server.token.encode() not in reply[1]


def raw_get(server: RealServer, path: str) -> tuple[int, bytes]:
    """Send the path as it is, without a client that normalizes it."""
    connection = http.client.HTTPConnection(*server.address, timeout=20)
    try:
        connection.putrequest("GET", path)
        connection.putheader("Authorization", f"Bearer {server.token}")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_doors(server: RealServer, left: str) -> None:
    for path in (f"/jobs/{left}/files", f"/jobs/{left}/files/ten.txt"):
        assert server.ask("GET", path, token=False).status == 401
        assert server.ask("POST", path, {}).status == 405
    assert server.ask("GET", "/jobs/nobody/files").problem == "not-found"
    assert server.ask("GET", "/jobs/a%20b/files/x").fields == ["id"]


def run(server: RealServer, command: str, **more: Any) -> str:
    return server.run(f"echo partial > out/part.txt; echo READY; {command}", **more)


def files_of(server: RealServer, job_id: str) -> list[str]:
    return [file["path"] for file in server.ask("GET", f"/jobs/{job_id}/files").json["files"]]


@pytest.mark.parametrize("keep", [None, False, True])
def test_what_did_not_succeed_is_kept_only_if_asked(server: RealServer, keep: bool | None) -> None:
    more = {} if keep is None else {"keep_files": keep}
    failed, cancelled = run(server, "exit 3", **more), run(server, "sleep 60", **more)
    with server.stream("GET", f"/jobs/{cancelled}/events") as stream:
        stream.until('"text": "READY')
    assert files_of(server, cancelled) == []  # not while it runs
    assert server.ask("GET", f"/jobs/{cancelled}/files/part.txt").problem == "not-found"
    assert server.ask("POST", f"/jobs/{cancelled}/cancel?wait=10").json["cancellation"]["workspace_removed"] is True
    assert server.ended(failed)["state"] == "failed"
    for job_id in (failed, cancelled):
        assert files_of(server, job_id) == (["part.txt"] if keep else [])
        status = server.ask("GET", f"/jobs/{job_id}/files/part.txt").status
        assert status == (200 if keep else 404)


def test_forgetting_a_job_removes_its_files(server: RealServer) -> None:
    job_id = run(server, "true")
    server.ended(job_id)
    folder = server.state_dir / "files" / job_id
    assert (folder / "part.txt").read_text() == "partial\n"
    assert server.ask("DELETE", f"/jobs/{job_id}").status == 204
    assert not folder.exists()
    again = run(server, "rm out/part.txt", id=job_id)
    server.ended(again)
    assert files_of(server, again) == []


def test_a_large_file_is_streamed_and_a_client_may_leave(server: RealServer) -> None:
    job_id = server.run("head -c 50000000 /dev/zero > out/zeros")
    server.ended(job_id)
    sock = server.connect(receive_buffer=4096)
    sock.sendall(server.head("GET", f"/jobs/{job_id}/files/zeros") + b"\r\n")
    assert sock.recv(100).startswith(b"HTTP/1.1 200")
    sock.close()
    assert len(server.ask("GET", f"/jobs/{job_id}/files/zeros").body) == 50_000_000
    held = [str(link.readlink()) for link in Path(f"/proc/{server.process.pid}/fd").iterdir() if link.is_symlink()]
    assert not [target for target in held if target.endswith("/zeros")]


def test_the_ledger_tells_what_was_held_and_what_became_of_it(server: RealServer) -> None:
    done = server.ended(server.run("true"))
    by_kind = {entry["kind"]: entry for entry in done["resources"]}
    assert set(by_kind) == {"directory", "terminal"}
    fields = {"kind", "name", "action", "acquired_at", "released_at", "removed_at"}
    assert all(set(entry) == fields for entry in done["resources"])
    assert (by_kind["terminal"]["name"], by_kind["terminal"]["action"]) == ("true", "released")
    assert by_kind["terminal"]["released_at"] >= by_kind["terminal"]["acquired_at"]
    assert by_kind["directory"]["action"] == "removed"
    assert by_kind["directory"]["name"] == str(server.state_dir / "workspaces" / done["id"])

    killed = server.run("echo READY; sleep 60")
    with server.stream("GET", f"/jobs/{killed}/events") as stream:
        stream.until('"text": "READY')
        held = server.job(killed)["resources"]
        assert [(entry["kind"], entry["action"]) for entry in held] == [
            ("directory", "acquired"),
            ("terminal", "acquired"),
        ]
        # The server is stopped first, so that it cannot release anything itself before it is killed.
        os.kill(next(e["pid"] for e in stream.events() if e["type"] == "job.running"), signal.SIGSTOP)
        server.ask("POST", f"/jobs/{killed}/cancel?wait=10", {"force": True})
        stream.read_to_end()
        told = [(e["action"], e["kind"]) for e in stream.events() if e["type"] == "job.resource"]
    assert told == [
        ("acquired", "directory"), ("acquired", "terminal"), ("removed", "directory"), ("removed", "terminal"),
    ]  # fmt: skip
    assert {entry["action"] for entry in server.job(killed)["resources"]} == {"removed"}


def test_files_outlive_nothing_that_is_forgotten(tmp_path: Path) -> None:
    """An in-memory server that restarts has no jobs, so their files are removed, too."""
    with real_server(tmp_path / "state") as first:
        job_id = run(first, "true")
        first.ended(job_id)
        assert (tmp_path / "state" / "files" / job_id).is_dir()
    with real_server(tmp_path / "state") as second:
        known = second.ask("GET", f"/jobs/{job_id}").status == 200
        assert (tmp_path / "state" / "files" / job_id).is_dir() is known
        document = json.loads(second.ask("GET", "/openapi.json").body)
        assert "/jobs/{id}/files/{path}" in document["paths"]
