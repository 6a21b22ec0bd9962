"""A program that embeds a node keeps the children that it started itself, whatever happens to a job's guardian."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.guardian.handle import Handle
from supervisor.guardian.kernel_features import AVAILABLE
from supervisor.node.cleanup.host_children import HostChildren
from tests.support.attempts import guardian_pid, node_of
from tests.support.core import cancel, ended, output, running, says, scenario, submit, until

DAEMON = "(setsid env -i sh -c 'echo daemon $$ end; exec sleep 60' &); exec sleep 60"


@contextmanager
def own_session() -> Iterator[subprocess.Popen[bytes]]:
    """A child of this process in a session of its own, which looks like an orphan but for its parent."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_child_of_the_host_outlives_the_sweep_of_a_job(
    tmp_path: Path, number: signal.Signals, registered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's daemon, which has emptied its environment, is ended. The control registers nothing."""
    if not registered:
        monkeypatch.setattr(HostChildren, "__contains__", lambda *_: False)

    async def body() -> None:
        async with running(tmp_path, containment="subreaper") as supervisor:
            record = submit(supervisor, "shell", command=DAEMON)
            await says(record, " end")
            pid = int(output(record).split("daemon ")[1].split()[0])
            daemon = Handle.open(pid)
            with own_session() as child:
                host_children = node_of(supervisor).services.backstop.host_children
                identity = Handle.open(child.pid)
                if registered:
                    await until(lambda: identity.identity in host_children)
                os.kill(guardian_pid(record), number)
                cancel(supervisor, record)
                await ended(record)
                assert daemon.ended
                assert (child.poll() is not None or identity.ended) is not registered
                identity.close()
            daemon.close()

    scenario(body)


def test_a_child_is_registered_only_while_every_guardian_is_alive() -> None:
    with own_session() as guardian, own_session() as child:
        handles = [Handle.open(guardian.pid)]
        identity = Handle.open(child.pid)
        host_children = HostChildren(AVAILABLE)
        guardian.kill()
        guardian.wait()
        host_children.look(handles)
        assert identity.identity not in host_children
        host_children.look([])  # the control: the dead guardian was disposed of
        assert identity.identity in host_children
        for handle in (*handles, identity):
            handle.close()


def test_guardians_and_processes_of_a_job_are_never_registered() -> None:
    marked = {**os.environ, "DEADSTOP_COOKIE": "of a job"}
    with (
        own_session() as guardian,
        subprocess.Popen(["sleep", "60"], start_new_session=True, env=marked) as of_a_job,
        subprocess.Popen(["sleep", "60"]) as of_this_session,
    ):
        handles = [Handle.open(process.pid) for process in (guardian, of_a_job, of_this_session)]
        host_children = HostChildren(AVAILABLE)
        host_children.look(handles[:1])
        assert [handle.identity in host_children for handle in handles] == [False, False, False]
        host_children.look([])
        assert [handle.identity in host_children for handle in handles] == [True, False, False]  # the control
        for process, handle in zip((of_a_job, of_this_session), handles[1:], strict=True):
            process.kill()
            handle.close()
        handles[0].close()


def test_a_child_that_has_ended_is_forgotten_and_a_registered_one_is_known_at_once() -> None:
    host_children = HostChildren(AVAILABLE)
    with own_session() as child:
        handle = Handle.open(child.pid)
        host_children.register(child.pid)
        assert handle.identity in host_children
        child.kill()
        child.wait()
        host_children.look([])
        assert handle.identity not in host_children
        handle.close()


def test_a_killed_guardian_of_an_idle_worker_does_not_cost_a_child_of_the_host(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, containment="subreaper", warm=1) as supervisor:
            node = node_of(supervisor)
            with own_session() as child:
                handle = Handle.open(child.pid)
                await until(lambda: handle.identity in node.services.backstop.host_children)
                (idle,) = node.pool.guardians
                os.kill(idle.pid, signal.SIGKILL)
                await until(lambda: node.pool.ready == 1 and idle not in node.pool.guardians)
                await asyncio.sleep(0)
                assert not handle.ended
                handle.close()

    scenario(body)
