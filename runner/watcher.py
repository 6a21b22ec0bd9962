"""The thread of a runner that hears the ask, and sees to it that the task does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Event as SharedEvent
from select import select  # the function itself: a task may replace the module's, as gevent does
from time import sleep

from runner.cancellation import Cancellation
from runner.protocol import TO_RUNNER, CancelRequest, ProtocolError, StdinChunk, decode

POLL_S = 0.025
"""How often the Event is read. A tight loop on `is_set()` can be killed while it holds the Event's lock, and
then `set()` hangs in the supervisor; from 20 ms up that was never seen."""
READ_BYTES = 1 << 18


class Watch(threading.Thread):
    """Polls the Event and reads the runner's channel until either asks, then asks the task. StdinChunk is passed on.

    Until the task's function has been left it also has raised again what was swallowed.

    `rest` is what was read from the channel behind the order. `on_input` must not wait: an ask may come behind it.
    """

    def __init__(
        self,
        event: SharedEvent,
        channel: socket.socket,
        cancellation: Cancellation,
        *,
        rest: bytes = b"",
        on_input: Callable[[StdinChunk], None] = lambda _frame: None,
    ) -> None:
        super().__init__(name="deadstop-watch", daemon=True)
        self._event = event
        self._channel = channel
        self._cancellation = cancellation
        self._unparsed = rest
        self._on_input = on_input

    def run(self) -> None:
        asked = self._parse(b"")
        while not asked and not self._event.is_set():
            readable, _, _ = select([self._channel], [], [], POLL_S)
            if readable:
                asked = self._read()
            self._cancellation.insist()
        self._cancellation.ask()
        while not self._cancellation.left:
            sleep(POLL_S)
            self._cancellation.insist()

    def _read(self) -> bool:
        """Take what is there. Whether it asks to stop."""
        try:
            data = self._channel.recv(READ_BYTES)
        except ConnectionResetError:
            data = b""
        # EOF means that the supervisor is gone: the guardian kills everything in a moment, until then unwinding is
        # right too.
        return not data or self._parse(data)

    def _parse(self, data: bytes) -> bool:
        *lines, self._unparsed = (self._unparsed + data).split(b"\n")
        for line in lines:
            try:
                frame = decode(TO_RUNNER, line)
            except ProtocolError:
                return True  # a supervisor that talks nonsense cannot be relied on to ask
            if isinstance(frame, CancelRequest):
                return True
            if isinstance(frame, StdinChunk):
                self._on_input(frame)
        return False
