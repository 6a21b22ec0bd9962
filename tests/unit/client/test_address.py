"""Which server the client connects to, and which token it sends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deadstop.client.address import DEFAULT_URL, find_server, is_loopback
from deadstop.client.errors import NotConfigured


def noted(tmp_path: Path, url: str = "http://127.0.0.1:4711") -> dict[str, str]:
    (tmp_path / "server.json").write_text(json.dumps({"pid": 1, "url": url}))
    (tmp_path / "token").write_text("secret\n")
    return {"DEADSTOP_STATE_DIR": str(tmp_path)}


def test_the_running_servers_note_gives_the_address(tmp_path: Path) -> None:
    address = find_server(None, noted(tmp_path))
    assert (address.url, address.token) == ("http://127.0.0.1:4711", "secret")
    assert address.token_source == str(tmp_path / "token")
    assert address.loopback


def test_url_flag_then_variable_then_note_then_default(tmp_path: Path) -> None:
    environ = noted(tmp_path)
    assert find_server("http://a:1", environ | {"DEADSTOP_URL": "http://b:2"}).url == "http://a:1"
    assert find_server(None, environ | {"DEADSTOP_URL": "http://b:2/"}).url == "http://b:2"
    empty = {"DEADSTOP_STATE_DIR": str(tmp_path / "none")}
    assert find_server(None, empty).url == DEFAULT_URL
    assert find_server(None, empty | {"DEADSTOP_PORT": "9000"}).url == "http://127.0.0.1:9000"


def test_the_token_variable_wins_over_the_file(tmp_path: Path) -> None:
    assert find_server(None, noted(tmp_path) | {"DEADSTOP_TOKEN": "other"}).token == "other"


def test_this_machines_token_is_not_sent_elsewhere(tmp_path: Path) -> None:
    address = find_server("http://example.com:8700", noted(tmp_path))
    assert address.token is None
    assert "DEADSTOP_TOKEN" in address.token_source
    # Unless our own server says that it listens there.
    mine = find_server("http://10.0.0.7:8700", noted(tmp_path, "http://10.0.0.7:8700"))
    assert mine.token == "secret"
    assert not mine.loopback


@pytest.mark.parametrize("url", ["127.0.0.1:8700", "ftp://x", "http://", "http://x:0", "http://x:99999", "http://["])
def test_an_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(NotConfigured, match="write it as http://HOST:PORT") as caught:
        find_server(url, {})
    assert (caught.value.type, caught.value.field) == ("invalid-url", "url")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("x", False)],
)
def test_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local
