"""The guardian's connection to its supervisor. Orders come in, reports go out, and EOF means that the supervisor
died.
"""

from __future__ import annotations

import socket

from runner.codec import decode, encode
from supervisor.guardian.protocol import TO_GUARDIAN, ToGuardian

SEND_TIMEOUT_S = 1.0
"""A supervisor that takes no message for this long counts as dead."""


class SupervisorLink:
    """One end of the control socket."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._control.settimeout(SEND_TIMEOUT_S)
        self._unparsed = b""
        self.is_open = True
        self.fd = control.fileno()

    def send(self, frame: object) -> None:
        if not self.is_open:
            return
        try:
            self._control.sendall(encode(frame))
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.is_open = False

    def receive(self) -> list[ToGuardian]:
        """Return the orders that have arrived. Call it when the descriptor is readable."""
        try:
            data = self._control.recv(1 << 16)
        except ConnectionResetError:
            data = b""  # the supervisor died before it had read all reports
        if not data:
            self.is_open = False
            return []
        *lines, self._unparsed = (self._unparsed + data).split(b"\n")
        return [decode(TO_GUARDIAN, line) for line in lines]
