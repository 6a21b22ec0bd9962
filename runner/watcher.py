"""The thread of a runner that waits for the request to stop, and sees to it that the task notices."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Event as SharedEvent
from select import select  # the function itself: a task may replace the module's, as gevent does
from time import sleep

from runner.cancellation import Cancellation
from runner.codec import TO_RUNNER, ProtocolError, decode
from runner.protocol import CancelRequest, StdinChunk

POLL_S = 0.025
"""The interval between two reads of the Event. A process that polls `is_set()` in a tight loop can be killed while it
holds the Event's lock, and then `set()` hangs in the supervisor. From 20 ms up that was never observed.
"""
READ_BYTES = 1 << 18


class Watch(threading.Thread):
    """Poll the Event and read the runner's channel until either requests a stop, then pass the request on to the task.

    Until the task's function has been left, the thread also has exceptions raised again that were swallowed. `rest` is
    what was read from the channel after the order. `on_input` must not block, because a request may follow the input.
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
        requested = self._parse(b"")
        while not requested and not self._event.is_set():
            readable, _, _ = select([self._channel], [], [], POLL_S)
            if readable:
                requested = self._read()
            self._cancellation.raise_again()
        self._cancellation.request()
        while not self._cancellation.left:
            sleep(POLL_S)
            self._cancellation.raise_again()

    def _read(self) -> bool:
        """Read what has arrived. Return whether it requests a stop."""
        try:
            data = self._channel.recv(READ_BYTES)
        except ConnectionResetError:
            data = b""
        # EOF means that the supervisor has ended. The guardian kills everything in a moment; until then the task may
        # unwind.
        return not data or self._parse(data)

    def _parse(self, data: bytes) -> bool:
        *lines, self._unparsed = (self._unparsed + data).split(b"\n")
        for line in lines:
            try:
                frame = decode(TO_RUNNER, line)
            except ProtocolError:
                return True  # a supervisor that sends invalid lines may never send a request
            if isinstance(frame, CancelRequest):
                return True
            if isinstance(frame, StdinChunk):
                self._on_input(frame)
        return False
