"""A job costs the server nine descriptors, so the server raises the usual limit, which is not meant for servers."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.server import running_server

SOFT = 128
JOBS = 16


@contextmanager
def limited() -> Iterator[int]:
    """The soft limit of this process, and so of what it starts, is SOFT for the length of the block. The hard one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, before[1]))
    try:
        yield before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_server_takes_what_it_may_and_jobs_keep_what_they_had(short_dir: Path) -> None:
    with ExitStack() as stack:
        with limited() as hard:
            server = stack.enter_context(running_server(short_dir / "files"))
        assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE) == (hard, hard)
        body = {"task": "shell", "input": {"command": "echo limits $(ulimit -Sn) $(ulimit -Hn); sleep 60"}}
        streams = [stack.enter_context(server.stream(body)) for _ in range(JOBS)]
        for stream in streams:
            stream.until_output(f"limits {SOFT} {hard}", 20)
        if os.access(f"/proc/{server.pid}/fd", os.R_OK):  # of a server that hides its memory: for root alone
            held = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
            assert held > SOFT, "the test's jobs do not need more than the soft limit"
        for stream in streams:
            stream.hang_up()
        for stream in streams:
            job = server.wait_finished(stream.events[0].data["job_id"])
            assert (job["state"], job["cancellation"]["within_budget"]) == ("cancelled", True)
        assert "Traceback" not in server.stderr
