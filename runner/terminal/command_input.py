"""The input of one command, typed by its task or by the job's clients."""

from __future__ import annotations

from runner.stdin import JobStdin, Typed
from runner.terminal.spawn import Spawned
from runner.terminal.typing_in import TypedText


class CommandInput:
    """For the thread that owns the command's terminal. No method waits."""

    def __init__(self, spawned: Spawned) -> None:
        self._spawned = spawned
        self._typing = TypedText(terminal=spawned.terminal_fd is not None)
        self._end_when_sent = False
        self._clients: JobStdin | None = None
        self._typed: Typed | None = None

    @property
    def is_open(self) -> bool:
        return self._spawned.input_fd is not None

    @property
    def unsent_bytes(self) -> int:
        return len(self._typing)

    @property
    def client_fd(self) -> int | None:
        """A descriptor that is readable when clients have typed; None while their input is not accepted."""
        return None if self._clients is None or self._typing else self._clients.fileno()

    def attach(self, clients: JobStdin) -> None:
        """Pass on what clients type, from now on."""
        self._clients = clients
        if not self.is_open:
            clients.close()

    def detach(self) -> None:
        """Accept no more input of clients, and tell the supervisor."""
        if self._clients is not None:
            self._clients.close()

    def type(self, data: bytes, *, eof: bool = False) -> None:
        """Queue `data`. The end of the input is Ctrl-D in a terminal and the end of stdin on pipes."""
        self._typing.add(data, eof=eof)
        if eof and self._spawned.terminal_fd is None:
            self._end_when_sent = True
        self.send()

    def drop_unsent(self) -> None:
        self._typing.clear()

    def take(self) -> None:
        """Take the next piece that clients have typed."""
        assert self._clients is not None
        self._typed = typed = self._clients.take()
        if typed is not None:
            if typed.size is not None:
                self._spawned.resize(*typed.size)
            self.type(typed.data, eof=typed.eof)

    def send(self) -> None:
        """Write as much of the queue as the command accepts now."""
        fd = self._spawned.input_fd
        if fd is None:
            return
        try:
            self._typing.send(fd)
        except BlockingIOError:
            return
        except OSError:  # EPIPE, EIO: the command has closed its side
            self.close()
            return
        if not self._typing:
            if self._typed is not None and self._clients is not None:
                self._clients.taken(self._typed)
                self._typed = None
            if self._end_when_sent:
                self.close()

    def close(self) -> None:
        # The command does not read its input any more.
        self._typing.clear()
        self._spawned.close_input()
        self.detach()
