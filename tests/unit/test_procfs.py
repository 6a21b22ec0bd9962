"""Reading /proc: an unreadable process does not count as gone, and open folders need no new descriptor."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from supervisor.guardian import procfs
from supervisor.guardian.handle import Handle
from supervisor.guardian.own_process import OwnProcess
from supervisor.guardian.proc import children, descendants, environment_of, process_table, read_stat
from supervisor.guardian.procfs import Unreadable
from supervisor.guardian.sweep import Sweep

GONE = [errno.ENOENT, errno.ESRCH]
FAILED = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EPERM, errno.EACCES, errno.EINVAL]


def fail(monkeypatch: pytest.MonkeyPatch, number: int, containing: str = "") -> None:
    real = procfs.open_file

    def open_file(path: str, flags: int = os.O_RDONLY) -> int:
        if containing in path:
            raise OSError(number, os.strerror(number))
        return real(path, flags)

    monkeypatch.setattr(procfs, "open_file", open_file)


@contextmanager
def no_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", GONE)
def test_what_is_gone_is_nothing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    fail(monkeypatch, number)
    assert read_stat(1) is None
    assert children(1) == []
    assert environment_of(1) == {}


@pytest.mark.parametrize("number", FAILED)
def test_what_cannot_be_read_is_not_gone(
    monkeypatch: pytest.MonkeyPatch, number: int, child: subprocess.Popen[bytes]
) -> None:
    handle = Handle.open(child.pid, use_pidfd=False)
    fail(monkeypatch, number)
    for look in (read_stat, children, descendants):
        with pytest.raises(Unreadable) as caught:
            look(child.pid)
        assert caught.value.errno == number
    with pytest.raises(Unreadable):
        process_table()
    with pytest.raises(Unreadable):
        Handle.open(child.pid)
    assert not handle.ended
    assert not handle.stopped


@pytest.mark.parametrize("number", FAILED)
def test_a_walk_goes_on_without_what_it_cannot_read(
    monkeypatch: pytest.MonkeyPatch, number: int, child: subprocess.Popen[bytes]
) -> None:
    fail(monkeypatch, number, f"{child.pid}/")
    errors: list[Unreadable] = []
    assert child.pid in descendants(os.getpid(), on_error=errors.append)
    assert {error.errno for error in errors} == {number}
    table = process_table(errors.append)
    assert os.getpid() in table
    assert child.pid not in table


def test_a_table_without_this_process_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "names", lambda *_: [])
    with pytest.raises(Unreadable, match="does not show this process"):
        process_table()
    assert process_table(lambda _: None) == {}


def test_what_is_held_open_is_read_without_a_descriptor(child: subprocess.Popen[bytes]) -> None:
    own = OwnProcess()
    with no_descriptors():
        assert own.is_seen()
        assert child.pid in own.children()
        assert child.pid in own.proven_children()
        for look in (read_stat, children):  # the control: without what is held there is nothing
            with pytest.raises(Unreadable):
                look(os.getpid())
    own.close()


def test_a_proof_needs_this_process_in_it_and_the_kernel_s_word(
    monkeypatch: pytest.MonkeyPatch, child: subprocess.Popen[bytes]
) -> None:
    own = OwnProcess()
    assert own.is_seen()
    assert child.pid in own.proven_children()
    with monkeypatch.context() as hidden:
        hidden.setattr(own, "children", list)
        with pytest.raises(Unreadable, match="child that the kernel knows of"):
            own.proven_children()
    with monkeypatch.context() as another:
        another.setattr(os, "getppid", lambda: 0)
        assert not own.is_seen()
        with pytest.raises(Unreadable, match="does not show this process"):
            own.proven_children()
    own.close()


def test_a_zombie_that_is_not_shown_keeps_the_proof_away(monkeypatch: pytest.MonkeyPatch) -> None:
    own = OwnProcess()
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert ended.pid in own.proven_children()
        monkeypatch.setattr(own, "children", lambda: [1])
        with pytest.raises(Unreadable, match="child that the kernel knows of"):
            own.proven_children()
    own.close()


@pytest.mark.parametrize("number", FAILED)
def test_a_sweep_signals_processes_that_it_can_identify(
    monkeypatch: pytest.MonkeyPatch, number: int, child: subprocess.Popen[bytes]
) -> None:
    sweep = Sweep(os.getpid(), leave_out=frozenset(descendants(os.getpid())) - {child.pid})
    fail(monkeypatch, number)
    assert sweep.kill() == [child.pid]
    assert sweep.errors.failed
    assert child.wait(5) == -signal.SIGKILL


OVER = """
import os, subprocess, sys
from supervisor.guardian import procfs
from supervisor.guardian.proc import children, read_stat
me, there = os.getpid(), sys.argv[1:]
mount = lambda where: subprocess.run(["mount", "-t", "tmpfs", "none", where], check=True)
child = subprocess.Popen(["sleep", "60"])
subprocess.run(["mount", "--make-rshared", "/proc"], check=True)
for where in (f"/proc/{child.pid}", f"/proc/{me}/task", "/proc"):
    mount(where)
    assert read_stat(child.pid) is not None, where
    assert child.pid in children(me), where
assert os.listdir("/proc") == []  # the control: the name is what was mounted
print(procfs._SHARED, flush=True)  # before the next program prints
later = '''
from supervisor.guardian.own_process import OwnProcess
own = OwnProcess()
print(own.is_seen(), len(own.children()))
'''
subprocess.run([sys.executable, "-c", later], check=True)  # begun behind the mount, as a second forkserver is
child.kill()
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_what_is_mounted_over_it_changes_nothing() -> None:
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*unshare, sys.executable, "-c", OVER], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout.split() == ["False", "True", "0"], done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_without_the_right_to_mount_what_is_inside_is_refused() -> None:
    """It reads /proc itself then: something over a part of it is an error, and not an empty folder."""
    script = """
import os, subprocess
from supervisor.guardian import procfs
procfs._mount_detached = lambda: None
procfs.FOLDER_FD, procfs._SHARED = procfs._open_folder()
procfs._BENEATH = procfs._refuses_mounts()
from supervisor.guardian.proc import read_stat
child = subprocess.Popen(["sleep", "60"])
assert read_stat(child.pid) is not None
subprocess.run(["mount", "-t", "tmpfs", "none", f"/proc/{child.pid}"], check=True)
try:
    print(read_stat(child.pid))
except procfs.Unreadable as exc:
    print(exc.errno)
procfs._BENEATH = False
print(read_stat(child.pid))
subprocess.run(["umount", f"/proc/{child.pid}"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "none", "/proc"], check=True)
assert os.listdir("/proc") == []
print(read_stat(child.pid).pid == child.pid)
child.kill()
"""
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*unshare, sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout.split() == [str(errno.EXDEV), "None", "True"], done.stderr
