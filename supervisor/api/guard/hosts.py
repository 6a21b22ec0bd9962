"""Which host names this server answers for, and which pages may change anything.

A page on the internet can make its own name resolve to 127.0.0.1 and then talk to us as if we were its server: the Host
header reveals that. Any page can also post to any address: the Origin header reveals that.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from supervisor.api.guard.problems import Kind, Problem
from supervisor.config import is_loopback

_DEFAULT_PORTS = {"http": "80", "https": "443"}


class AllowedHosts:
    """`names` may contain `*.example.com`, or `*` for any. Ports are ignored, and loopback names are always allowed."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(_plain(name) for name in names)
        self._suffixes = tuple(name[1:] for name in self._names if name.startswith("*."))
        self._any = "*" in self._names

    def allows(self, header: str) -> bool:
        name = host_name(header)
        if name is None:
            return False
        if self._any or is_loopback(name) or name.endswith(".localhost"):
            return True
        return name in self._names or bool(self._suffixes and name.endswith(self._suffixes))


def host_name(header: str) -> str | None:
    """Return the name or address in a Host header, in lower case, without port and brackets; None if it has none."""
    header = header.strip()
    if header.startswith("["):
        address, bracket, rest = header[1:].partition("]")
        good = bracket and (not rest or (rest[0] == ":" and _is_port(rest[1:])))
        return _plain(address) if good and address else None
    name, colon, port = header.partition(":")
    if not name or (colon and not _is_port(port)):
        return None
    return _plain(name)


def check_origin(headers: Headers) -> None:
    """Raise Problem (403) if a page of another origin sent the request. Without an Origin, no page did."""
    origins = headers.getlist("origin")
    if not origins:
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            raise Problem(Kind.FORBIDDEN_ORIGIN, "a page of another site must not change anything here")
        return
    if len(origins) > 1 or not same_origin(origins[0], headers.get("host", "")):
        raise Problem(Kind.FORBIDDEN_ORIGIN, f"a page of {origins[0][:100]} must not change anything here")


def same_origin(origin: str, host: str) -> bool:
    """Return whether a page of `origin` was served under the Host header `host`: only such pages may change anything.

    The scheme is not compared: behind a proxy that speaks TLS, the browser sees another one than this server.
    """
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    default = _DEFAULT_PORTS.get(parts.scheme)
    if default is None or parts.hostname is None or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return False
    return (_plain(parts.hostname), str(port or default)) == (host_name(host), _port(host) or default)


def _port(header: str) -> str:
    rest = header.rpartition("]")[2]
    return rest.partition(":")[2].strip()


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and len(text) <= 5)


def _plain(name: str) -> str:
    return name.strip().strip("[]").rstrip(".").lower()
