"""Each layer of defence by itself: its test fails when that layer is left out, because the others are held still.

In a whole server another layer does the work a moment later, and nothing shows that one is missing.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.guardian.cgroup import AttemptCgroup
from supervisor.guardian.handle import Handle, Identity
from supervisor.guardian.proc import read_stat
from supervisor.guardian.sweep import Sweep
from supervisor.node.cleanup.backstop import Backstop
from supervisor.node.cleanup.kill_round import SweepTarget
from tests.support.level_cases import needs_cgroup
from tests.support.levels import a_tree

BOUND_S = 5.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def leaf(tmp_path: Path) -> Iterator[AttemptCgroup]:
    tree = a_tree(tmp_path)
    yield tree.new_leaf()
    assert tree.close()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not descend from any process that a sweep looks at, so that no sweep signals it."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.fixture
def childless() -> Iterator[subprocess.Popen[bytes]]:
    """The root of an empty tree, or a guardian that has nothing below it."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


# --- cgroup.kill


@needs_cgroup
def test_a_guardians_kill_goes_to_the_cgroup(
    leaf: AttemptCgroup, stranger: subprocess.Popen[bytes], childless: subprocess.Popen[bytes]
) -> None:
    leaf.add(stranger.pid)
    Sweep(childless.pid).kill()
    assert stranger.poll() is None  # the control: signals alone do not reach it
    Sweep(childless.pid, leaf).kill()
    assert stranger.wait(BOUND_S) == -signal.SIGKILL


@needs_cgroup
@pytest.mark.parametrize("guardian_lives", [True, False])
def test_the_backstops_round_goes_to_the_cgroup(
    leaf: AttemptCgroup, stranger: subprocess.Popen[bytes], childless: subprocess.Popen[bytes], guardian_lives: bool
) -> None:
    leaf.add(stranger.pid)
    guardian = Handle.open(childless.pid)
    backstop = Backstop({Identity.of(stranger.pid): guardian, guardian.identity: guardian})
    try:
        if not guardian_lives:
            childless.kill()
            childless.wait()
        (found,) = backstop.kill_once([SweepTarget(guardian, leaf)])
        assert stranger.pid in found.seen
        assert stranger.wait(BOUND_S) == -signal.SIGKILL
    finally:
        guardian.close()
        backstop.close()


# --- SIGCONT after SIGTERM

PARENT_OF_A_STOPPED_ONE = """
import os, signal
pid = os.fork()
if pid == 0:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    os.kill(os.getpid(), signal.SIGSTOP)
    signal.pause()
    os._exit(1)
os.waitpid(pid, os.WUNTRACED)
print(pid, flush=True)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), flush=True)
"""


def test_a_stopped_process_gets_to_act_on_its_sigterm() -> None:
    """Without SIGCONT it would be killed later: gone just the same, but without its clean-up."""
    command = [sys.executable, "-I", "-S", "-c", PARENT_OF_A_STOPPED_ONE]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            os.kill(child, signal.SIGTERM)
            stat = read_stat(child)
            assert stat is not None
            assert stat.state == "T"  # the control: the signal alone stays pending
            assert Sweep(parent.pid).terminate() == [child]
            assert select.select([parent.stdout], [], [], BOUND_S)[0], "it is still stopped"
            assert parent.stdout.readline() == b"7\n"
        finally:
            Sweep(parent.pid).kill()
            parent.kill()


# --- what a job is born with

ENTER = """
import json, os, resource, subprocess, sys
from pathlib import Path
from runner.process_setup import enter_workspace
_, hard = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
os.environ["STRAY"] = "inherited"
before = resource.getrlimit(resource.RLIMIT_CORE)
enter_workspace(Path(sys.argv[1]), {"GIVEN": "yes"})
print(json.dumps({
    "environ": dict(os.environ),
    "of a child": subprocess.run(["/usr/bin/env"], capture_output=True, text=True).stdout.split(),
    "core before": before,
    "core": resource.getrlimit(resource.RLIMIT_CORE),
}))
"""


def entered(tmp_path: Path, core_bytes: int) -> dict[str, object]:
    """Return what a process that may write cores of that size finds once it has entered a job's workspace."""

    def allow_cores() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (core_bytes, core_bytes))

    done = subprocess.run(
        [sys.executable, "-c", ENTER, str(tmp_path / "workspace")],
        env={"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        preexec_fn=allow_cores,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_environment_is_emptied_before_it_is_filled(tmp_path: Path) -> None:
    """In a server the forkserver has only allow-listed variables, so nothing much would be left to see."""
    found = entered(tmp_path, 0)
    assert found["environ"] == {"GIVEN": "yes"}
    assert found["of a child"] == ["GIVEN=yes"]


def test_no_core_is_dumped_whatever_the_server_may(tmp_path: Path) -> None:
    """Most machines start a server without cores, and then nothing has to be switched off."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    allowed = 1 << 20 if hard == resource.RLIM_INFINITY or os.geteuid() == 0 else min(hard, 1 << 20)
    if allowed == 0:
        pytest.skip("this user may not allow cores, so there is nothing to switch off")
    found = entered(tmp_path, allowed)
    assert found["core before"] == [allowed, allowed]
    assert found["core"] == [0, 0]
