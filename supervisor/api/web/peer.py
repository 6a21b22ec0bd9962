"""Detect whether the client at the other end of a connection is still there.

A client that closes sends a FIN or a reset, and the kernel reports it at once. One that vanishes (a cable, a lid, a
crashed machine) sends nothing. TCP_USER_TIMEOUT makes the kernel give up when what we sent stays unacknowledged. The
heartbeat of the stream makes sure that something was sent.

But that timeout also ends connections to clients that are alive and merely read slowly (`curl | less`): while the
client's window is closed, Linux counts the time although every probe of the window is answered (tcp_probe_timer in
net/ipv4/tcp_timer.c). So while the window is closed and probes are answered, the timeout is pushed ahead of the clock.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
import time
from dataclasses import dataclass

WATCH_EVERY_S = 0.3
STALL_PATIENCE = 2.0
"""A client with a closed window may miss answers for this many times the usual timeout, and at least for this many
seconds."""
PROBES_LOST = 2
"""A client is gone if this many window probes in a row get no answer. One may be lost: answers are rate-limited."""

_GONE_SILENTLY = frozenset(
    {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.ENONET}
)
"""Errors for a peer that sent nothing. Resets are not among them, because the peer sends those."""

_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class _TcpInfo:
    """The fields of `struct tcp_info` (linux/tcp.h) that distinguish a closed window from silence."""

    lost_probes: int
    unacked: int
    not_sent: int
    acked_bytes: int
    window: int | None
    data_age_ms: int
    """How long ago the last data came from the peer."""
    ack_age_ms: int
    """How long ago the last segment of any kind came. The last one of a peer that closes is its FIN."""

    @property
    def stalled(self) -> bool:
        """Whether there is something to send and the peer has no room for it."""
        return self.window == 0 or (self.unacked == 0 and self.not_sent > 0)

    @classmethod
    def read(cls, sock: socket.socket) -> _TcpInfo:
        """Read the fields. Raise OSError if the socket is closed."""
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        (unacked,) = struct.unpack_from("I", raw, 24)
        (acked_bytes,) = struct.unpack_from("Q", raw, 120)
        (not_sent,) = struct.unpack_from("I", raw, 144)
        # Kernels before 5.4 do not report the window.
        window = struct.unpack_from("I", raw, 228)[0] if len(raw) >= 232 else None
        data_age_ms, ack_age_ms = struct.unpack_from("2I", raw, 52)
        return cls(raw[3], unacked, not_sent, acked_bytes, window, data_age_ms, ack_age_ms)


def _moment(since: float, age_ms: int | None) -> float:
    """Return when it happened, or `since` if the kernel does not know the age or it is less than a tick."""
    return time.monotonic() - age_ms / 1000 if age_ms else since


class Peer:
    """The client of one connection. Only for use on the event loop."""

    def __init__(self, sock: socket.socket | None) -> None:
        self._sock = sock
        self._timeout_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stalled_since: float | None = None
        self._acked_bytes = -1
        self.vanished = False
        """Whether the connection ended because the client no longer sent anything."""
        self.heard_at: float | None = None
        """When the kernel received the last bytes of the present request, in monotonic seconds like `left_at`."""
        self.left_at: float | None = None
        """When the kernel received the end of the connection."""

    def heard(self, since: float) -> None:
        """Note that bytes of a request were read, which arrived at `since` at the earliest."""
        info = self._info()
        self.heard_at = _moment(since, None if info is None else info.data_age_ms)

    def hung_up(self, since: float) -> None:
        """Note that the client has closed its side, at `since` at the earliest."""
        info = self._info()
        self.left_at = _moment(since, None if info is None else info.ack_age_ms)

    def acknowledged_bytes(self) -> int | None:
        """Return how much of what we sent its kernel has acknowledged; None if the system does not report it."""
        info = self._info()
        return None if info is None else info.acked_bytes

    def _info(self) -> _TcpInfo | None:
        if self._sock is None or _USER_TIMEOUT is None or self._sock.family == socket.AF_UNIX:
            return None
        try:
            return _TcpInfo.read(self._sock)
        except OSError:
            return None  # just closed

    def reset(self) -> None:
        """Make the coming close discard unsent data, which the kernel would otherwise keep for minutes."""
        if self._sock is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def lost(self, exc: Exception | None, since: float) -> None:
        """Note that the connection has ended, at `since` at the earliest, with the kernel's error if there was one."""
        if self.left_at is None:
            self.left_at = since
        self.unwatch()
        self.vanished = isinstance(exc, OSError) and exc.errno in _GONE_SILENTLY
        self._sock = None

    def watch(self, vanished_after_s: float) -> None:
        """Make the connection end when the client acknowledges nothing for that time, although we send."""
        if self._sock is None or _USER_TIMEOUT is None or self._sock.family == socket.AF_UNIX:
            return
        self._timeout_s = vanished_after_s
        self._set_timeout(vanished_after_s)
        self._look()

    def unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._set_timeout(0)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(WATCH_EVERY_S, self._look)
        info = self._info()
        if info is None:
            return
        if info.acked_bytes != self._acked_bytes or not info.stalled:
            if self._stalled_since is not None:
                self._set_timeout(self._timeout_s)
            self._stalled_since = loop.time() if info.stalled else None
        self._acked_bytes = info.acked_bytes
        if self._stalled_since is not None and info.lost_probes < PROBES_LOST:
            patience_s = max(STALL_PATIENCE, STALL_PATIENCE * self._timeout_s)
            self._set_timeout(loop.time() - self._stalled_since + patience_s)

    def _set_timeout(self, seconds: float) -> None:
        if self._sock is not None and _USER_TIMEOUT is not None:
            try:
                self._sock.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, round(seconds * 1000))
            except OSError:
                return  # the socket has just been closed, and has no options any more
