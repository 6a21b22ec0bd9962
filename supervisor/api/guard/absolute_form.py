"""Requests whose first line has a whole URL instead of a path."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from starlette.types import Scope


def in_origin_form(scope: Scope) -> Scope:
    """Return the request with a path and the Host header that belongs to it.

    Servers must accept `GET http://host/path`, and then use that host instead of the header (RFC 9112, 3.2.2).
    """
    target = scope["raw_path"].decode("latin-1")
    if not target.lower().startswith(("http://", "https://")):
        return scope
    try:
        parts = urlsplit(target)
    except ValueError:  # half of an IPv6 address: the path will not be found
        return scope
    path = parts.path or "/"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "headers": [(b"host", parts.netloc.encode("latin-1")), *headers],
    }
