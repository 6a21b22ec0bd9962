"""What a request asks for, when its first line names it as a whole URL."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from starlette.types import Scope


def in_origin_form(scope: Scope) -> Scope:
    """The same request with a path and a Host header of its own.

    Servers have to take `GET http://host/path`, and must then go by that host and not by the header (RFC 9112, 3.2.2).
    """
    target = scope["raw_path"].decode("latin-1")
    if not target.lower().startswith(("http://", "https://")):
        return scope
    try:
        parts = urlsplit(target)
    except ValueError:  # a half of an IPv6 address: there is no such path either
        return scope
    path = parts.path or "/"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "headers": [(b"host", parts.netloc.encode("latin-1")), *headers],
    }
