"""The listening socket. It is opened before anything else, so that a port in use is reported at once."""

from __future__ import annotations

import errno
import os
import socket
import threading
from typing import Any

from supervisor.errors import StartupError

BACKLOG = 2048
RESOLVE_TIMEOUT_S = 0.7
"""A name server that does not answer must not delay the start by its own timeouts."""

_AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raise StartupError, which names host and port, if that fails."""
    family, kind, protocol, _, address = _resolve(host.strip("[]"), port)
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it. It prevents events from being delayed to be sent together with the next.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
        # Binding does not show that the port is free: two sockets may be bound, but only one may listen.
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as exc:
        sock.close()
        raise StartupError(f"cannot listen on {host}:{port}: {_why(exc, port)}") from None
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the URL by which a client on this machine reaches the socket."""
    host, port = sock.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104  # recognised here, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _resolve(host: str, port: int) -> _AddressInfo:
    found: list[_AddressInfo] = []
    failed: list[OSError] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
        except OSError as exc:
            failed.append(exc)
        except UnicodeError:
            failed.append(OSError(errno.EINVAL, "not a valid host name"))

    thread = threading.Thread(target=look_up, daemon=True, name="resolve")
    thread.start()
    thread.join(RESOLVE_TIMEOUT_S)
    if failed:
        raise StartupError(f"cannot listen on {host}:{port}: {failed[0].strerror}")
    # "localhost" has both kinds of address. Clients that try ::1 first fall back; those that know only IPv4 cannot.
    for info in found:
        if info[0] == socket.AF_INET:
            return info
    if found:
        return found[0]
    raise StartupError(f"cannot listen on {host}:{port}: the name was not resolved within {RESOLVE_TIMEOUT_S} s")


def _why(exc: OSError, port: int) -> str:
    match exc.errno:
        case errno.EADDRINUSE:
            return "the port is in use; stop what uses it, or choose another (port 0 picks a free one)"
        case errno.EACCES if port < 1024:
            return "ports below 1024 are for root; choose a higher one"
        case errno.EADDRNOTAVAIL:
            return "the address is not one of this machine's"
        case _:
            return os.strerror(exc.errno or 0)
