"""Jobs that end in every way leave nothing in the server: it holds the same resources after them as before."""

from __future__ import annotations

from pathlib import Path

from tests.support.census import WAYS, Census, end_many, settled, trash_of
from tests.support.server import running_server

ROUNDS = 4


def test_what_the_server_holds_does_not_grow(short_dir: Path) -> None:
    with running_server(short_dir / "flat") as server:
        end_many(server, range(len(WAYS)), at_once=2)  # threads and buffers that are made once
        before = settled(server, lambda census: census.workspaces == census.zombies == 0)
        assert before.shm > 0, "its warm sets have semaphores"
        assert before.fds > 0
        end_many(server, range(ROUNDS * len(WAYS)), at_once=2)

        def flat(now: Census) -> bool:
            return all(count <= before.counts()[name] for name, count in now.counts().items())

        after = settled(server, flat)
        assert flat(after), f"grew from {before} to {after}"
        settled(server, lambda _: not trash_of(server))
        assert not trash_of(server)
